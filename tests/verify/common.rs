//! Shared tools: signatures, requests, and a service around a handler.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::verify::{Cause, Refusal, SignedRequest, Verifier};
use tower_persistence::{BoxError, Error, ResponseBody, Verified, VerifyLayer};

pub(crate) type HttpRequest = Request<Full<Bytes>>;

/// The time of the tests, unless they say another: that of Slack's example.
pub(crate) const NOW: u64 = 1_531_420_618;

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn sha256_hmac(secret: &str, message: &[u8]) -> Vec<u8> {
    hmac::sign(&Key::new(HMAC_SHA256, secret.as_bytes()), message).as_ref().to_vec()
}

pub(crate) fn sha1_hmac(secret: &str, message: &[u8]) -> Vec<u8> {
    let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    hmac::sign(&key, message).as_ref().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns a JSON request with these headers.
pub(crate) fn post(body: impl Into<Bytes>, headers: &[(&'static str, &str)]) -> HttpRequest {
    let mut request = Request::post("/").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

pub(crate) fn slack_headers(secret: &str, time: u64, body: &str) -> HeaderMap {
    let message = format!("v0:{time}:{body}");
    let signature = format!("v0={}", hex(&sha256_hmac(secret, message.as_bytes())));
    let mut headers = HeaderMap::new();
    headers.insert("x-slack-signature", signature.parse().unwrap());
    headers.insert("x-slack-request-timestamp", time.to_string().parse().unwrap());
    headers
}

/// Returns a request that Slack has signed at this time.
pub(crate) fn slack(secret: &str, time: u64, body: &str) -> HttpRequest {
    let mut request = post(body.to_owned(), &[]);
    request.headers_mut().extend(slack_headers(secret, time, body));
    request
}

/// Returns a request that Meta has signed.
pub(crate) fn meta(secret: &str, body: &str) -> HttpRequest {
    let signature = format!("sha256={}", hex(&sha256_hmac(secret, body.as_bytes())));
    post(body.to_owned(), &[("x-hub-signature-256", &signature)])
}

pub(crate) const MESSENGER: &str = r#"{"object":"page","entry":[{"id":"page-1","time":1,"messaging":[
    {"sender":{"id":"user-1"},"timestamp":1,"message":{"mid":"m-1","text":"a\u0040b.c"}}]}]}"#;

pub(crate) const ALEXA: &str = r#"{"version":"1.0","session":{"new":true,"sessionId":"session-1"},
    "context":{"System":{"user":{"userId":"user-1"}}},
    "request":{"type":"LaunchRequest","requestId":"request-1"}}"#;

pub(crate) const WEB: &str = r#"{"version":"4.0","platform":"web","timestamp":"2026-01-01T00:00:00Z",
    "input":{"type":"LAUNCH"},"context":{"user":{"id":"user-1"},"session":{"id":"s"}}}"#;

/// Asks a verifier that does not wait, at this time.
pub(crate) fn ask(
    verifier: &impl Verifier,
    request: &HttpRequest,
    seconds: u64,
) -> Result<(), Cause> {
    let (head, body) = request.clone().into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    let signed = SignedRequest::new(&head, &body, at(seconds));
    let asked = verifier.verify(signed).now_or_never().expect("it does not wait");
    asked.map(|_| ()).map_err(|refusal: Refusal| refusal.cause())
}

pub(crate) type App =
    BoxCloneSyncService<HttpRequest, Response<ResponseBody<Full<Bytes>>>, BoxError>;

/// What reached the handler: each request's proof and body.
#[derive(Clone, Default)]
pub(crate) struct Handler(Arc<Mutex<Vec<Handled>>>);

type Handled = (Option<Verified>, Bytes);

impl Handler {
    /// Returns the proof and the body of the first request.
    pub(crate) fn first(&self) -> (Verified, Bytes) {
        let (verified, body) = self.0.lock().unwrap()[0].clone();
        (verified.expect("it was verified"), body)
    }

    /// Returns the name of the platform for which each request was verified.
    pub(crate) fn platforms(&self) -> Vec<Option<String>> {
        let seen = self.0.lock().unwrap();
        seen.iter().map(|it| it.0.as_ref().map(|it| it.platform().to_owned())).collect()
    }
}

/// Returns a service of `layer`, at [`NOW`], around a handler that answers with 200.
pub(crate) fn app(layer: VerifyLayer) -> (App, Handler) {
    app_at(layer.clock(|| at(NOW)))
}

pub(crate) fn app_at(layer: VerifyLayer) -> (App, Handler) {
    let handler = Handler::default();
    let seen = handler.clone();
    let inner = service_fn(move |request: HttpRequest| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            seen.0.lock().unwrap().push((head.extensions.get::<Verified>().cloned(), body));
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from("handled"))))
        }
    });
    (BoxCloneSyncService::new(layer.layer(inner)), handler)
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) error: Option<Error>,
    pub(crate) body: Bytes,
}

pub(crate) async fn send(app: &App, request: HttpRequest) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let error = head.extensions.get::<Error>().cloned();
    Answer { status: head.status.as_u16(), headers: head.headers, error, body }
}

pub(crate) async fn status(app: &App, request: HttpRequest) -> u16 {
    send(app, request).await.status
}
