//! Services without network, each beside its yardsticks, as subjects.

use std::hint::black_box;

use measures::layer::{self, HttpRequest};
use measures::{identity, samples};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_persistence::{MemoryDb, PersistenceLayer};

use crate::measure::Subject;

/// Makes all subjects without a database of their own.
pub(crate) fn all(runtime: &Runtime) -> Vec<Subject<'_>> {
    let services = [identity(), pass_through(runtime), requests(runtime)];
    services.into_iter().flatten().collect()
}

/// Ways to find the user of a request.
pub(crate) fn identity<'a>() -> Vec<Subject<'a>> {
    let (head, body) = (layer::head(), samples::alexa(0));
    let same = body.clone();
    vec![
        Subject::new("identity", "identity: a borrowed serde struct", move |count| {
            (0..count).for_each(|_| identity::borrowed(&same));
        }),
        Subject::new("identity", "identity: PlatformRequest and Alexa", move |count| {
            for _ in 0..count {
                identity::recognised(&head, &body, |id| {
                    black_box(id);
                });
            }
        }),
    ]
}

/// A request in which the layer has no part.
pub(crate) fn pass_through(runtime: &Runtime) -> Vec<Subject<'_>> {
    let layer = PersistenceLayer::new(MemoryDb::new());
    let (alone, inside) = (service_fn(layer::inner), layer.layer(service_fn(layer::inner)));
    vec![
        subject(runtime, "pass through: inner service alone", alone, layer::get),
        subject(runtime, "pass through: layer", inside, layer::get),
    ]
}

/// A request of a user.
pub(crate) fn requests(runtime: &Runtime) -> Vec<Subject<'_>> {
    let subjects = runtime.block_on(layer::subjects());
    let body = subjects.body;
    let subjects = subjects.all.into_iter().map(|(name, service, cookie)| {
        let body = body.clone();
        subject(runtime, name, service, move || layer::post(&body, cookie.as_deref()))
    });
    subjects.collect()
}

/// Makes a subject of a service. The requests are made outside the measured time.
fn subject<'a, S>(
    runtime: &'a Runtime,
    name: &str,
    mut service: S,
    request: impl Fn() -> HttpRequest + 'a,
) -> Subject<'a>
where
    S: Service<HttpRequest, Error: std::fmt::Debug> + 'a,
{
    let prepare = move |count| (0..count).map(|_| request()).collect::<Vec<_>>();
    Subject::prepared("services", name, prepare, move |requests| {
        runtime.block_on(async {
            for request in requests {
                let ready = service.ready().await.expect("ready");
                ready.call(request).await.expect("a response");
            }
        });
    })
}
