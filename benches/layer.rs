//! What the layer costs, next to what it cannot do without, and next to tower-sessions. See `README.md` beside this file.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_persistence::platform::{Alexa, PlatformRequest};
use tower_persistence::{
    AfterReply, Database, Expected, Handles, MemoryDb, PersistenceLayer, Platform, Record, TurnEnd,
    User,
};

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;

/// An IntentRequest of 3 KB, as a device with a screen sends it.
fn alexa() -> Bytes {
    let slot = |name: &str| {
        json!({ "name": name, "value": "a cup of tea", "confirmationStatus": "NONE", "source": "USER",
            "resolutions": { "resolutionsPerAuthority": [{ "authority": "amzn1.er-authority.echo-sdk.amzn1.ask.skill.DRINK",
                "status": { "code": "ER_SUCCESS_MATCH" }, "values": [{ "value": { "name": "tea", "id": "TEA" } }] }] } })
    };
    let user = json!({ "userId": format!("amzn1.ask.account.{}", "A".repeat(180)) });
    let application =
        json!({ "applicationId": "amzn1.ask.skill.00000000-0000-0000-0000-000000000000" });
    let body = json!({
        "version": "1.0",
        "session": { "new": false, "sessionId": "amzn1.echo-api.session.00000000-0000-0000-0000-000000000000",
            "application": application, "attributes": {}, "user": user },
        "context": {
            "System": { "application": application, "user": user, "device": { "deviceId": format!("amzn1.ask.device.{}", "B".repeat(180)),
                "supportedInterfaces": { "Alexa.Presentation.APL": { "runtime": { "maxVersion": "2023.2" } }, "AudioPlayer": {} } },
                "apiEndpoint": "https://api.eu.amazonalexa.com", "apiAccessToken": "t".repeat(700) },
            "Viewport": { "experiences": [{ "arcMinuteWidth": 346, "arcMinuteHeight": 216, "canRotate": false, "canResize": false }],
                "mode": "HUB", "shape": "RECTANGLE", "pixelWidth": 1280, "pixelHeight": 800, "dpi": 160 },
        },
        "request": { "type": "IntentRequest", "requestId": "amzn1.echo-api.request.00000000-0000-0000-0000-000000000000",
            "locale": "en-GB", "timestamp": "2026-01-01T00:00:00Z", "dialogState": "STARTED",
            "intent": { "name": "OrderIntent", "confirmationStatus": "NONE", "slots": { "drink": slot("drink"), "food": slot("food") } } },
    });
    Bytes::from(body.to_string())
}

fn data() -> Value {
    json!({ "name": "Anna", "visits": 41, "favourites": ["tea", "cake", "scones"], "address": { "city": "Berlin", "zip": "10115" },
        "lastOrder": { "at": "2026-01-01T00:00:00.000Z", "items": [{ "drink": "tea", "count": 2 }] } })
}

fn post(body: &Bytes) -> HttpRequest {
    let request = Request::post("/").header("content-type", "application/json");
    request.body(Full::new(body.clone())).unwrap()
}

fn get() -> HttpRequest {
    Request::get("/").body(Full::default()).unwrap()
}

/// The inner service alone.
async fn inner(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    black_box(request);
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}

async fn reads(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let user = request.extensions().get::<User>().expect("a user");
    black_box(user.get::<i64>("visits").expect("a number"));
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

async fn reads_and_writes(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let user = request.extensions().get::<User>().expect("a user");
    black_box(user.increment("visits", 1).expect("a number"));
    inner(request).await
}

/// What no such layer can do without: the body is buffered and its user found, then the inner service is called.
#[derive(Clone)]
struct BufferAndIdentify<S>(S);

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
            let parsed = PlatformRequest::parse(&parts, &bytes).expect("JSON");
            let events = Alexa.recognise(&parsed).expect("Alexa's");
            let user_id = events.into_iter().next().and_then(|event| event.user_id);
            parts.extensions.insert(UserId(user_id.expect("a user").into_owned()));
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

fn measure<S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    mut service: S,
    request: impl Fn() -> HttpRequest,
) where
    S: Service<HttpRequest>,
    S::Error: std::fmt::Debug,
{
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(async {
                let mut spent = Duration::ZERO;
                // Requests are made outside the measured time, in batches.
                let mut left = iterations;
                while left > 0 {
                    let batch: Vec<_> = (0..left.min(1000)).map(|_| request()).collect();
                    left -= batch.len() as u64;
                    let begun = Instant::now();
                    for request in batch {
                        let ready = service.ready().await.expect("ready");
                        black_box(ready.call(request).await.expect("a response"));
                    }
                    spent += begun.elapsed();
                }
                spent
            })
        });
    });
}

fn pass_through(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let layer = PersistenceLayer::new(MemoryDb::new());
    let mut group = criterion.benchmark_group("pass-through");
    measure(&mut group, &runtime, "inner service alone", service_fn(inner), get);
    measure(&mut group, &runtime, "layer", layer.layer(service_fn(inner)), get);
    group.finish();
}

fn alexa_request(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = alexa();
    let layer = PersistenceLayer::new(MemoryDb::new());
    let (head, _) = post(&body).into_parts();
    let request = PlatformRequest::parse(&head, &body).expect("JSON");
    let events = Alexa.recognise(&request).expect("Alexa's");
    let user_id = events[0].user_id.as_deref().expect("a user");
    let record: Record = serde_json::from_value(json!({ "user": { "data": data() } })).unwrap();
    runtime.block_on(layer.database().save(user_id, &record, Expected::Absent)).unwrap();

    let mut group = criterion.benchmark_group(format!("Alexa, {} bytes", body.len()));
    measure(&mut group, &runtime, "inner service alone", service_fn(inner), || post(&body));
    let buffered = BufferAndIdentify(service_fn(inner));
    measure(&mut group, &runtime, "buffering and identity alone", buffered, || post(&body));
    measure(&mut group, &runtime, "layer, read", layer.layer(service_fn(reads)), || post(&body));
    let service = layer.layer(service_fn(reads_and_writes));
    measure(&mut group, &runtime, "layer, read and write", service, || post(&body));
    let service = Drained(layer.layer(service_fn(writes_after_the_reply)), layer);
    measure(&mut group, &runtime, "layer, write in a turn after the reply", service, || {
        post(&body)
    });
    tower_sessions(&mut group, &runtime, &body);
    group.finish();
}

/// The same work with tower-sessions: behind buffering and identity, so that it knows whose request it is, and with a cookie,
/// since its sessions are found by nothing else.
fn tower_sessions(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, body: &Bytes) {
    use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

    async fn reads_and_writes(request: HttpRequest) -> Result<HttpResponse, Infallible> {
        let session = request.extensions().get::<Session>().expect("a session").clone();
        match session.get::<i64>("visits").await.expect("a number") {
            Some(visits) => session.insert("visits", visits + 1).await.expect("JSON"),
            None => {
                for (key, value) in data().as_object().expect("an object") {
                    session.insert(key, value).await.expect("JSON");
                }
            }
        }
        inner(request).await
    }

    let layer = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let service = layer.layer(service_fn(reads_and_writes));
    let response = runtime.block_on(service.clone().oneshot(post(body))).expect("a response");
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let request = || {
        let mut request = post(body);
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        request
    };
    measure(group, runtime, "tower-sessions, read and write", service.clone(), request);
    let service = BufferAndIdentify(service);
    measure(group, runtime, "tower-sessions behind identity, read and write", service, request);
}

/// A stream of tokens that a model sends.
struct Tokens(mpsc::Receiver<Bytes>);

impl Body for Tokens {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|token| token.map(|token| Ok(Frame::data(token))))
    }
}

const TOKENS: usize = 100;

/// Streams 100 tokens, and writes once.
async fn streams(request: HttpRequest) -> Result<Response<Tokens>, Infallible> {
    if let Some(user) = request.extensions().get::<User>() {
        black_box(user.increment("visits", 1).expect("a number"));
    }
    let (model, tokens) = mpsc::channel(TOKENS);
    for _ in 0..TOKENS {
        model.try_send(Bytes::from_static(b"data: token\n\n")).expect("a place");
    }
    Ok(Response::new(Tokens(tokens)))
}

/// Measures whole requests, each with its stream.
fn measure_streams<S, B>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    service: &S,
    request: impl Fn() -> HttpRequest,
) where
    S: Service<HttpRequest, Response = Response<B>, Error: std::fmt::Debug> + Clone,
    B: Body<Error: std::fmt::Debug>,
{
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            &request,
            |request| {
                runtime.block_on(async {
                    let response = service.clone().oneshot(request).await.expect("a response");
                    let mut body = std::pin::pin!(response.into_body());
                    let mut frames = 0;
                    while let Some(frame) = body.frame().await {
                        black_box(frame.expect("a frame"));
                        frames += 1;
                    }
                    assert_eq!(frames, TOKENS);
                });
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

/// Measures the time from the model to the client, token by token.
fn measure_latency<B>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    body: B,
    model: &mpsc::Sender<Bytes>,
) where
    B: Body<Error: std::fmt::Debug>,
{
    let body = std::cell::RefCell::new(Box::pin(body));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut body = body.borrow_mut();
            runtime.block_on(async {
                let mut frame = std::pin::pin!(body.frame());
                // The client waits already when the token comes.
                let mut is_waiting = |cx: &mut Context<'_>| frame.as_mut().poll(cx).is_pending();
                assert!(std::future::poll_fn(|cx| Poll::Ready(is_waiting(cx))).await);
                model.try_send(Bytes::from_static(b"data: token\n\n")).expect("a place");
                black_box(frame.await.expect("a frame").expect("no error"));
            });
        });
    });
}

fn streamed_reply(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = alexa();
    let layer = PersistenceLayer::new(MemoryDb::new());
    let with_body = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    let request = || post(&body);

    let mut group = criterion.benchmark_group(format!("streamed reply, {TOKENS} tokens"));
    measure_streams(&mut group, &runtime, "inner service alone", &service_fn(streams), request);
    let service = layer.layer(service_fn(streams));
    measure_streams(&mut group, &runtime, "layer, turn ends with the head", &service, request);
    let service = with_body.layer(service_fn(streams));
    measure_streams(&mut group, &runtime, "layer, turn ends with the body", &service, request);
    group.finish();

    let mut group = criterion.benchmark_group("streamed reply, one token");
    let (model, tokens) = mpsc::channel(1);
    measure_latency(&mut group, &runtime, "inner service alone", Tokens(tokens), &model);
    let (model, tokens) = mpsc::channel(1);
    let tokens = std::sync::Arc::new(std::sync::Mutex::new(Some(Tokens(tokens))));
    let service = with_body.layer(service_fn(move |_: HttpRequest| {
        let tokens = tokens.lock().expect("not poisoned").take().expect("one request");
        async { Ok::<_, Infallible>(Response::new(tokens)) }
    }));
    let response = runtime.block_on(service.oneshot(request())).expect("a response");
    let name = "layer, turn ends with the body";
    measure_latency(&mut group, &runtime, name, response.into_body(), &model);
    group.finish();
}

criterion_group!(benches, pass_through, alexa_request, streamed_reply);
criterion_main!(benches);
