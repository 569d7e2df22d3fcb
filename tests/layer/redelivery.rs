//! Events that are sent again to a real server: while the first still runs, and after a restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{Database, Error, FileDb, MemoryDb, PersistenceLayer, User};

use crate::common::messenger;
use crate::socket::{exchange, whole};

/// Counts the runs of the handler, and lets each wait for a permit.
struct Gate {
    runs: AtomicUsize,
    permits: Semaphore,
}

impl Gate {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { runs: AtomicUsize::new(0), permits: Semaphore::new(permits) })
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

async fn visit(State(gate): State<Arc<Gate>>, user: User) -> Result<impl IntoResponse, Error> {
    let run = gate.runs.fetch_add(1, Ordering::Relaxed) + 1;
    gate.permits.acquire().await.unwrap().forget();
    let visits = user.increment("visits", 1)?;
    let body = format!("<reply run=\"{run}\">\r\n  visit {visits} \u{1f600}\r\n</reply>\n");
    Ok(([("content-type", "application/xml; charset=utf-8")], body))
}

/// Serves until the returned task is aborted.
async fn start<D: Database>(
    layer: PersistenceLayer<D>,
    gate: Arc<Gate>,
) -> (SocketAddr, JoinHandle<()>) {
    let chat = JsonPlatform::new("chat").detect("/from").user_id("/from").event_id("/id");
    let layer = layer.platform(chat).deduplicate(true);
    let app = axum::Router::new().route("/", post(visit)).layer(layer).with_state(gate);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

fn event(id: &str) -> String {
    whole(&json!({ "from": "anna", "id": id }).to_string())
}

/// Returns status, content type and body of a whole response.
fn parts(response: &str) -> (&str, &str, &str) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    let content_type = headers.split("\r\n").find_map(|line| line.strip_prefix("content-type: "));
    (status, content_type.unwrap_or_default(), body)
}

#[tokio::test]
async fn a_repeat_while_the_first_runs_waits_and_gets_the_same_bytes() {
    let gate = Gate::new(0);
    let (address, _) = start(PersistenceLayer::new(MemoryDb::new()), Arc::clone(&gate)).await;
    let first = tokio::spawn(exchange(address, event("e-1")));
    while gate.runs() == 0 {
        tokio::task::yield_now().await;
    }
    let repeats: Vec<_> = (0..3).map(|_| tokio::spawn(exchange(address, event("e-1")))).collect();
    let other = tokio::spawn(exchange(address, event("e-2")));
    gate.permits.add_permits(2);
    let first = first.await.unwrap();
    assert_eq!(parts(&first).0, "HTTP/1.1 200 OK", "{first}");
    for repeat in repeats {
        assert_eq!(parts(&repeat.await.unwrap()), parts(&first));
    }
    assert!(other.await.unwrap().contains("visit 2 "), "another event is served");
    assert_eq!(gate.runs(), 2);
}

#[tokio::test]
async fn a_repeat_after_a_restart_gets_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db.json");
    let gate = Gate::new(9);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let layer = PersistenceLayer::new(FileDb::open(&path).await.unwrap());
        let (address, server) = start(layer.clone(), Arc::clone(&gate)).await;
        answers.push(exchange(address, event("e-1")).await);
        // Nobody reads Messenger's reply, so its repeat is answered with an empty success.
        let meta = exchange(address, whole(&messenger("bert", "m-1").to_string())).await;
        assert!(meta.starts_with("HTTP/1.1 200 OK"), "{meta}");
        assert_eq!(parts(&meta).2.is_empty(), answers.len() > 1, "{meta}");
        server.abort();
        let _ = server.await;
        layer.close().await.unwrap();
    }
    assert_eq!(parts(&answers[0]).1, "application/xml; charset=utf-8");
    assert!(parts(&answers[0]).2.contains("visit 1 \u{1f600}\r\n"), "{}", answers[0]);
    for repeat in &answers[1..] {
        assert_eq!(parts(repeat), parts(&answers[0]));
    }
    assert_eq!(gate.runs(), 2, "one run for each user");
}
