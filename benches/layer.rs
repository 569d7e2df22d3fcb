//! The cost of the layer, next to what it cannot do without, and next to tower-sessions: the
//! subjects of `measures`. See `README.md` beside this file.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fmt::Debug;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use measures::layer::{self, HttpRequest};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_persistence::{MemoryDb, PersistenceLayer};

fn measure<S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    mut service: S,
    request: impl Fn() -> HttpRequest,
) where
    S: Service<HttpRequest>,
    S::Error: Debug,
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
    let layer = PersistenceLayer::new(MemoryDb::new()).layer(service_fn(layer::inner));
    let mut group = criterion.benchmark_group("pass-through");
    let alone = service_fn(layer::inner);
    measure(&mut group, &runtime, "inner service alone", alone, layer::get);
    measure(&mut group, &runtime, "layer", layer, layer::get);
    group.finish();
}

fn alexa_request(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let subjects = runtime.block_on(layer::subjects());
    let body = &subjects.body;
    let mut group = criterion.benchmark_group(format!("Alexa, {} bytes", body.len()));
    for (name, service, cookie) in subjects.all {
        measure(&mut group, &runtime, name, service, || layer::post(body, cookie.as_deref()));
    }
    group.finish();
}

criterion_group!(benches, pass_through, alexa_request);
criterion_main!(benches);
