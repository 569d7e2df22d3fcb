//! The example `lambda` on a local Lambda runtime API.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::binaries::binary;

/// What is waited for at most: the table is created at the first request.
const LONG: Duration = Duration::from_secs(60);

const REGION: &str = "eu-west-1";
const CREDENTIAL: &str = "local";

/// How often a process is frozen: what is late by chance is not late each time.
const FREEZES: usize = 10;

/// The second event remembers the first.
pub(crate) async fn two_events_of_one_user(endpoint: &str, table: &str) {
    let mut api = RuntimeApi::start().await;
    let _function = Function::start(&api, endpoint, table);
    for expected in ["Nice to meet you. This is visit 1.", "Welcome back. This is visit 2."] {
        let (reply, _accepted_at_once) = api.invoke(&event()).await;
        assert_eq!(text_of(&reply), expected);
    }
}

/// Lambda freezes the process when the reply has arrived, and may never thaw it. What was replied to is stored by then.
pub(crate) async fn nothing_runs_after_the_reply(endpoint: &str, table: &str) {
    for visit in 1..=FREEZES {
        let mut api = RuntimeApi::start().await;
        let mut function = Function::start(&api, endpoint, table);
        let freezer = Freezer::new(&function);
        let (reply, not_yet_accepted) = api.invoke(&event()).await;
        freezer.freeze();
        assert!(!not_yet_accepted.is_closed(), "it has hung up instead of being frozen");
        function.kill();
        drop(not_yet_accepted);
        let greeting = if visit == 1 { "Nice to meet you" } else { "Welcome back" };
        assert_eq!(text_of(&reply), format!("{greeting}. This is visit {visit}."));
        assert_eq!(stored_visits(endpoint, table).await, Some(visit.to_string()));
    }
}

fn text_of(reply: &Value) -> String {
    assert_eq!(reply["statusCode"], 200, "{reply}");
    let body: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
    body["response"]["outputSpeech"]["text"].as_str().unwrap().to_owned()
}

/// What DynamoDB says to somebody else.
async fn stored_visits(endpoint: &str, table: &str) -> Option<String> {
    let config = config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(CREDENTIAL, CREDENTIAL, None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    let key = AttributeValue::S("user-1".to_owned());
    let get = Client::from_conf(config).get_item().table_name(table).key("userId", key);
    let item = get.consistent_read(true).send().await.unwrap().item?;
    let data = item["user"].as_m().unwrap()["data"].as_m().unwrap();
    Some(data["visits"].as_n().unwrap().clone())
}

/// The example, running. It is killed at the end.
struct Function(Child);

impl Function {
    /// Runs the example on this table at `endpoint`.
    fn start(api: &RuntimeApi, endpoint: &str, table: &str) -> Self {
        let child = Command::new(binary("lambda"))
            .env("TABLE_NAME", table)
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            // What Lambda itself sets.
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", CREDENTIAL)
            .env("AWS_SECRET_ACCESS_KEY", CREDENTIAL)
            .env("AWS_LAMBDA_FUNCTION_NAME", "voice-app")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A shell that stands by: starting one takes longer than the function needs to go on.
struct Freezer {
    shell: Child,
    function: u32,
}

impl Freezer {
    fn new(function: &Function) -> Self {
        let function = function.0.id();
        let mut command = Command::new("sh");
        command.args(["-c", "read -r _; kill -STOP \"$1\"", "sh", &function.to_string()]);
        Self { shell: command.stdin(Stdio::piped()).spawn().expect("a shell, `sh`"), function }
    }

    /// Returns when the function stands still.
    fn freeze(mut self) {
        drop(self.shell.stdin.take());
        assert!(self.shell.wait().unwrap().success());
        if !cfg!(target_os = "linux") {
            return;
        }
        let since = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.function)).unwrap();
            // The name of the program, in parentheses, may hold anything.
            let (_, after_name) = stat.rsplit_once(") ").unwrap();
            if after_name.starts_with('T') {
                return;
            }
            assert!(since.elapsed() < LONG, "it does not stop: {stat}");
            std::thread::sleep(Duration::from_millis(1));
        }
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
    replies: mpsc::Receiver<Reply>,
}

/// A reply as it has arrived. The function is told so when the other half is dropped.
type Reply = (Value, oneshot::Sender<()>);

struct Queues {
    events: Mutex<mpsc::Receiver<String>>,
    replies: mpsc::Sender<Reply>,
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

    async fn invoke(&mut self, event: &Value) -> Reply {
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
    let (accept, accepted) = oneshot::channel();
    queues.replies.send((reply, accept)).await.unwrap();
    let _ = accepted.await;
    StatusCode::ACCEPTED
}
