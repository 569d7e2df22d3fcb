//! A tool remembers its user, across clients and platforms.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::{EncodingKey, Header, encode};
use mcp_server::{Claims, app};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_persistence::MemoryDb;

const SECRET: &[u8] = b"a secret of the test";

fn token(user: &str, secret: &[u8]) -> String {
    let claims = Claims { sub: user.to_owned(), exp: u64::MAX };
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)).unwrap()
}

async fn send(app: &Router, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", body["params"]["name"].as_str().unwrap_or("none"))
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn call(app: &Router, user: &str, tool: &str, arguments: Value) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1.0" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let (status, answer) = send(app, "/mcp", &token(user, SECRET), &call).await;
    assert_eq!(status, 200, "{answer}");
    answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_tool_remembers_its_user_and_the_web_chat_finds_the_same() {
    let database = MemoryDb::new();
    let app = app(database.clone(), SECRET);
    for (text, count) in [("buy milk", 1), ("call Bert", 2)] {
        let answer = call(&app, "anna", "remember", json!({ "text": text })).await;
        assert_eq!(answer, format!("Remembered. There are {count} notes."));
    }
    // After a restart, as it were.
    let app = mcp_server::app(database.clone(), SECRET);
    assert_eq!(call(&app, "anna", "recall", json!({})).await, "buy milk\ncall Bert");
    assert_eq!(call(&app, "bert", "recall", json!({})).await, "");

    let message =
        json!({ "id": "m1", "role": "user", "parts": [{ "type": "text", "text": "hi" }] });
    let chat = json!({ "id": "chat-1", "messages": [message], "trigger": "submit-message" });
    let (status, answer) = send(&app, "/chat", &token("anna", SECRET), &chat).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({ "notes": ["buy milk", "call Bert"] })));
}

#[tokio::test]
async fn without_a_valid_token_nobody_is_served() {
    let app = app(MemoryDb::new(), SECRET);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {} });
    for token in ["", "x.y.z", &token("anna", b"another secret")] {
        assert_eq!(send(&app, "/mcp", token, &call).await.0, 401);
    }
}
