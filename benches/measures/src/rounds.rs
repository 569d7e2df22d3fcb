//! Repeats one subject a number of times, for a profiler: `measures rounds mongodb 6000 1000`.

use measures::databases::{dynamodb, mongodb, save_over};
use measures::{layer, samples};
use tokio::runtime::Builder;
use tower::{Service, ServiceExt};

/// Repeats `subject` with records of `bytes` bytes `count` times.
pub(crate) fn run(subject: &str, bytes: &str, count: &str) {
    let bytes: usize = bytes.parse().expect("a number of bytes");
    let count: usize = count.parse().expect("a number of rounds");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let record = samples::record(bytes);
    let visited = samples::visited(&record);
    let (head, body) = (layer::head(), samples::alexa(0));
    match subject {
        "identity-borrowed" => (0..count).for_each(|_| layer::identity_borrowed(&body)),
        "identity" => (0..count).for_each(|_| layer::identity_platform(&head, &body)),
        "dynamodb" => runtime.block_on(async {
            let db = dynamodb::database(&record).await;
            for _ in 0..count {
                save_over(&db, &visited).await;
            }
        }),
        "dynamodb-bare" => runtime.block_on(async {
            let client = dynamodb::client(&record);
            for _ in 0..count {
                dynamodb::bare(&client).await;
            }
        }),
        "mongodb" => runtime.block_on(async {
            let db = mongodb::database(&mongodb::serve(&record)).await;
            for _ in 0..count {
                save_over(&db, &visited).await;
            }
        }),
        "mongodb-bare" => runtime.block_on(async {
            let client = mongodb::client(&mongodb::serve(&record)).await;
            for _ in 0..count {
                mongodb::bare(&client).await;
            }
        }),
        name => runtime.block_on(async {
            let subjects = layer::subjects().await;
            let subject = subjects.all.into_iter().find(|subject| subject.0 == name);
            let (_, mut service, cookie) = subject.expect("the name of a subject");
            for _ in 0..count {
                let request = layer::post(&subjects.body, cookie.as_deref());
                let ready = service.ready().await.expect("ready");
                ready.call(request).await.expect("a response");
            }
        }),
    }
}
