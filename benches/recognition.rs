//! The cost of recognising a request, with one platform and with all of them. See `README.md`
//! beside this file.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::platform::{
    Alexa, DialogflowCx, Discord, FacebookMessenger, GoogleChat, Lex, Line, Slack, Teams, Telegram,
    Twilio, WhatsApp,
};
use tower_persistence::{BoxError, MemoryDb, PersistenceLayer, Platform};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../tests/samples/", $name))
    };
}

/// A sample of the platform, its content type, and the platform.
fn cases() -> Vec<(&'static str, &'static str, Box<dyn Platform>)> {
    vec![
        (sample!("alexa/intent.json"), JSON, Box::new(Alexa)),
        (sample!("facebookmessenger/message.json"), JSON, Box::new(FacebookMessenger::new())),
        (sample!("lex/v2.json"), JSON, Box::new(Lex)),
        (sample!("whatsapp/text.json"), JSON, Box::new(WhatsApp)),
        (sample!("telegram/message.json"), JSON, Box::new(Telegram)),
        (sample!("slack/message.json"), JSON, Box::new(Slack)),
        (sample!("slack/block_actions.form"), FORM, Box::new(Slack)),
        (sample!("msteams/message.json"), JSON, Box::new(Teams)),
        (sample!("discord/button.json"), JSON, Box::new(Discord)),
        (sample!("line/message.json"), JSON, Box::new(Line)),
        (sample!("twilio/sms.form"), FORM, Box::new(Twilio)),
        (sample!("googlechat/message.json"), JSON, Box::new(GoogleChat)),
        (sample!("googlechat/pub_sub.json"), JSON, Box::new(GoogleChat)),
        (sample!("dialogflow-cx/intent.json"), JSON, Box::new(DialogflowCx)),
    ]
}

/// A request whose user is refused by an empty key: it is read and recognised, and no turn begins.
fn layer() -> PersistenceLayer<MemoryDb> {
    PersistenceLayer::new(MemoryDb::new()).storage_key(|_, _, _| String::new())
}

fn recognition(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (body, content_type, platform) in cases() {
        let mut group =
            criterion.benchmark_group(format!("{}, {} bytes", platform.name(), body.len()));
        let measure = |name: &str,
                       layer: PersistenceLayer<MemoryDb>,
                       group: &mut criterion::BenchmarkGroup<'_, _>| {
            measure(group, &runtime, name, &layer, body, content_type);
        };
        measure("none", layer().platforms(Vec::new()), &mut group);
        measure("one", layer().platforms(vec![platform]), &mut group);
        measure("all", layer(), &mut group);
        group.finish();
    }
}

fn measure(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    runtime: &Runtime,
    name: &str,
    layer: &PersistenceLayer<MemoryDb>,
    body: &'static str,
    content_type: &str,
) {
    let service = layer.layer(service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    }));
    let request = || {
        let request = Request::post("/").header("content-type", content_type);
        request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
    };
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                black_box(service.clone().oneshot(request()).await.expect("a response"));
            });
        });
    });
}

criterion_group!(benches, recognition);
criterion_main!(benches);
