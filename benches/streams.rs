//! The cost of the layer where a reply is streamed. See `README.md` beside this file.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use measures::layer::{self, HttpRequest};
use measures::samples;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_persistence::{MemoryDb, PersistenceLayer, TurnEnd, User};

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
    let body = samples::alexa(0);
    let with_head = PersistenceLayer::new(MemoryDb::new());
    let with_body = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    let request = || layer::post(&body, None);

    let mut group = criterion.benchmark_group(format!("streamed reply, {TOKENS} tokens"));
    measure_streams(&mut group, &runtime, "inner service alone", &service_fn(streams), request);
    let service = with_head.layer(service_fn(streams));
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

criterion_group!(benches, streamed_reply);
criterion_main!(benches);
