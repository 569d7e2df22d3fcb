//! The layer on `MemoryDb`, beside buffering and identity alone, and beside tower-sessions.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_persistence::{
    AfterReply, Database, Expected, Handles, MemoryDb, PersistenceLayer, Record, User,
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

use crate::{identity, samples};

/// A request of the services measured here.
pub type HttpRequest = Request<Full<Bytes>>;
/// A reply of the services measured here.
pub type HttpResponse = Response<Full<Bytes>>;
/// A service to measure.
pub type Subject = BoxCloneService<HttpRequest, (), Infallible>;

/// Makes the request with this body.
#[must_use]
pub fn post(body: &Bytes, cookie: Option<&str>) -> HttpRequest {
    let mut request = Request::post("/").header("content-type", "application/json");
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.body(Full::new(body.clone())).expect("a request")
}

/// Makes a request that passes through the layer.
#[must_use]
pub fn get() -> HttpRequest {
    Request::get("/").body(Full::default()).expect("a request")
}

/// Makes the head of a request.
#[must_use]
pub fn head() -> Parts {
    post(&Bytes::new(), None).into_parts().0
}

/// Calls the inner service alone.
///
/// # Errors
///
/// Never.
pub async fn inner(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    black_box(request);
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}

async fn reads(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let user = request.extensions().get::<User>().expect("a user");
    black_box(user.get::<i64>("visits").expect("a number"));
    inner(request).await
}

async fn reads_and_writes(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let user = request.extensions().get::<User>().expect("a user");
    black_box(user.increment("visits", 1).expect("a number"));
    inner(request).await
}

/// Does the same as [`reads_and_writes`], after the reply.
async fn writes_after_the_reply(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let after_reply = request.extensions().get::<AfterReply>().expect("work after the reply");
    let work = |turn: Handles| async move {
        black_box(turn.user.increment("visits", 1)?);
        Ok(())
    };
    after_reply.spawn(work).expect("less than the limit");
    inner(request).await
}

async fn session_reads_and_writes(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let session = request.extensions().get::<Session>().expect("a session").clone();
    match session.get::<i64>("visits").await.expect("a number") {
        Some(visits) => session.insert("visits", visits + 1).await.expect("JSON"),
        None => {
            for (key, value) in samples::data().as_object().expect("an object") {
                session.insert(key, value).await.expect("JSON");
            }
        }
    }
    inner(request).await
}

/// What no such layer can do without: buffers the body, finds its user, and calls the inner
/// service.
#[derive(Clone, Debug)]
pub struct BufferAndIdentify<S>(pub S);

#[derive(Clone)]
struct UserId(#[allow(dead_code)] String);

impl<S> Service<HttpRequest> for BufferAndIdentify<S>
where
    S: Service<HttpRequest> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let clone = self.0.clone();
        let mut inner = std::mem::replace(&mut self.0, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let bytes = body.collect().await.expect("cannot fail").to_bytes();
            let user_id = identity::recognised(&parts, &bytes, str::to_owned);
            parts.extensions.insert(UserId(user_id));
            inner.call(Request::from_parts(parts, Full::new(bytes))).await
        })
    }
}

/// Waits after each reply for the work that goes on.
#[derive(Clone)]
struct Drained<S>(S, PersistenceLayer<MemoryDb>);

impl<S> Service<HttpRequest> for Drained<S>
where
    S: Service<HttpRequest>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let (served, layer) = (self.0.call(request), self.1.clone());
        Box::pin(async move {
            let response = served.await;
            layer.drain().await;
            response
        })
    }
}

/// The services that are compared with one another, in the order of the figures.
#[derive(Debug)]
pub struct Subjects {
    /// Names, services, and the cookie that the service needs.
    pub all: Vec<(&'static str, Subject, Option<String>)>,
    /// The request to each of them.
    pub body: Bytes,
}

/// Makes the services, with the data of the user stored.
pub async fn subjects() -> Subjects {
    let body = samples::alexa(0);
    let layer = PersistenceLayer::new(MemoryDb::new());
    let user_id = identity::recognised(&head(), &body, str::to_owned);
    let record = json!({ "user": { "data": samples::data() },
        "createdAt": "2026-01-01T00:00:00.000Z" });
    let record: Record = serde_json::from_value(record).expect("an object");
    layer.database().save(&user_id, &record, Expected::Absent).await.expect("saved");

    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let sessions = sessions.layer(service_fn(session_reads_and_writes));
    let response = sessions.clone().oneshot(post(&body, None)).await.expect("a response");
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    let cookie = Some(cookie.split(';').next().expect("a cookie").to_owned());

    let all = vec![
        ("inner service alone", subject(service_fn(inner)), None),
        ("buffering and identity", subject(BufferAndIdentify(service_fn(inner))), None),
        ("layer: read", subject(layer.layer(service_fn(reads))), None),
        ("layer: read and write", subject(layer.layer(service_fn(reads_and_writes))), None),
        (
            "layer: write in a turn after the reply",
            subject(Drained(layer.layer(service_fn(writes_after_the_reply)), layer.clone())),
            None,
        ),
        ("tower-sessions alone", subject(sessions.clone()), cookie.clone()),
        ("tower-sessions behind identity", subject(BufferAndIdentify(sessions)), cookie),
    ];
    Subjects { all, body }
}

/// Erases the type of a service. Each of them bears the same box.
fn subject<S, R>(service: S) -> Subject
where
    S: Service<HttpRequest, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    BoxCloneService::new(service.map_response(|response| drop(black_box(response))))
}
