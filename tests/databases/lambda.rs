//! The example `lambda` on a local Lambda runtime API: two events of one user, the second remembers.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

/// What is waited for at most: the table is created at the first request.
const LONG: Duration = Duration::from_secs(60);

/// Runs the example on a table of its own at `endpoint`.
pub(crate) async fn two_events_of_one_user(endpoint: &str, table: &str) {
    let mut api = RuntimeApi::start().await;
    let lambda = std::env::current_exe().unwrap();
    let lambda = lambda.ancestors().nth(2).unwrap().join("examples/lambda");
    assert!(lambda.exists(), "not built: run `cargo build --all-features --example lambda` first");
    let child = Command::new(lambda)
        .env("TABLE_NAME", table)
        .env("AWS_LAMBDA_RUNTIME_API", &api.address)
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        // What Lambda itself sets.
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_LAMBDA_FUNCTION_NAME", "voice-app")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
        .spawn()
        .unwrap();
    let _killed_at_the_end = KillOnDrop(child);
    for expected in ["Nice to meet you. This is visit 1.", "Welcome back. This is visit 2."] {
        let reply = api.invoke(&event()).await;
        assert_eq!(reply["statusCode"], 200, "{reply}");
        let body: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["response"]["outputSpeech"]["text"], expected);
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An Alexa request as a function URL hands it on.
fn event() -> Value {
    let body = json!({
        "version": "1.0",
        "context": { "System": { "user": { "userId": "user-1" } } },
        "request": { "type": "LaunchRequest", "requestId": "request-1" },
    });
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": { "content-type": "application/json" },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "function",
            "domainName": "function.lambda-url.eu-west-1.on.aws",
            "domainPrefix": "function",
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test",
            },
            "requestId": "request-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_u64,
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    })
}

/// What a function asks for its events, and gives its replies to
/// (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
struct RuntimeApi {
    address: String,
    events: mpsc::Sender<String>,
    replies: mpsc::Receiver<Value>,
}

struct Queues {
    events: Mutex<mpsc::Receiver<String>>,
    replies: mpsc::Sender<Value>,
}

impl RuntimeApi {
    async fn start() -> Self {
        let (events, events_out) = mpsc::channel(1);
        let (replies_in, replies) = mpsc::channel(1);
        let queues = Queues { events: Mutex::new(events_out), replies: replies_in };
        let invocation = "/2018-06-01/runtime/invocation";
        let app = Router::new()
            .route(&format!("{invocation}/next"), get(next))
            .route(&format!("{invocation}/{{id}}/response"), post(reply))
            .route(&format!("{invocation}/{{id}}/error"), post(reply))
            .with_state(Arc::new(queues));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, events, replies }
    }

    async fn invoke(&mut self, event: &Value) -> Value {
        self.events.send(event.to_string()).await.unwrap();
        let reply = tokio::time::timeout(LONG, self.replies.recv()).await;
        reply.expect("a reply in time").expect("a reply")
    }
}

async fn next(State(queues): State<Arc<Queues>>) -> impl IntoResponse {
    let event = queues.events.lock().await.recv().await.expect("the test goes on");
    let headers = AppendHeaders([
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:voice-app",
        ),
        ("content-type", "application/json"),
    ]);
    (headers, event)
}

async fn reply(
    State(queues): State<Arc<Queues>>,
    Path(_): Path<String>,
    body: String,
) -> StatusCode {
    let reply = serde_json::from_str(&body).unwrap_or(Value::String(body));
    queues.replies.send(reply).await.unwrap();
    StatusCode::ACCEPTED
}
