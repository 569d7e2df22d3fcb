//! `docs/platforms.md`, row by row: sends each request on that page and compares every statement.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{Database, MemoryDb, PersistenceLayer, Session, User};

use crate::common::*;

const PAGE: &str = include_str!("../../docs/platforms.md");

/// A section of the page.
#[derive(Debug, Default)]
struct Row<'a> {
    platform: &'a str,
    title: &'a str,
    request: &'a str,
    /// Set if the request is a form, with one field in each line.
    is_form: bool,
    /// The statements on user and session: `User`, `Session`, …, each with the rest of its line.
    facts: Vec<(&'a str, &'a str)>,
    /// The request that the handler receives, if it differs from the one that was sent.
    events: Vec<&'a str>,
    handler: Option<&'a str>,
    reply: Option<&'a str>,
}

fn rows() -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    for platform in PAGE.split("\n## ").skip(1) {
        let mut sections = platform.split("\n### ");
        let name = sections.next().and_then(|head| head.lines().next()).unwrap();
        rows.extend(sections.map(|section| row(name, section)));
    }
    rows
}

fn row<'a>(platform: &'a str, section: &'a str) -> Row<'a> {
    let title = section.lines().next().unwrap();
    let mut row = Row { platform, title, ..Row::default() };
    for block in section.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind {
            "json request" => row.request = text,
            "text form" => (row.request, row.is_form) = (text, true),
            "json event" => row.events.push(text),
            "json handler" | "xml handler" => row.handler = Some(text),
            "json reply" | "xml reply" => row.reply = Some(text),
            "rust" => {}
            other => panic!("{platform}, {title}: what is `{other}`?"),
        }
    }
    let facts = section.lines().filter_map(|line| line.strip_prefix("* ")?.split_once(": "));
    row.facts = facts.collect();
    row
}

/// Returns whether a statement names a key under which there is a record.
fn is_key(name: &str) -> bool {
    ["Key", "Further name"].contains(&name)
}

/// Describes the handles in the words of the page.
fn found(user: Option<&User>, session: Option<&Session>) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| format!("`{text}`");
    let is_made = |id: &str| id.len() == 36 && id.split('-').count() == 5;
    let mut facts = vec![(
        "User",
        match user {
            None => "none".to_owned(),
            Some(user) if is_made(user.id()) => "a UUID".to_owned(),
            Some(user) => quoted(user.id()),
        },
    )];
    facts.extend(user.and_then(User::person_id).map(|person| ("Person", quoted(person))));
    let id = session.and_then(Session::id);
    let is_new = session.is_some_and(Session::is_new);
    let how = if is_new { "new" } else { "goes on" };
    facts.push(("Session", id.map_or("none".to_owned(), |id| format!("`{id}`, {how}"))));
    let data = session.map(Session::data).filter(|data| !data.is_empty());
    facts.extend(data.map(|data| ("Session data", quoted(&Value::Object(data).to_string()))));
    let state = session.and_then(Session::state);
    facts.extend(state.map(|state| ("State", quoted(&state.to_string()))));
    facts
}

/// Returns the request that is sent.
fn request(row: &Row<'_>) -> HttpRequest {
    if !row.is_form {
        return post(row.request.to_owned());
    }
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(row.request.lines().map(|line| line.split_once('=').unwrap()));
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    request.body(Full::new(Bytes::from(form.finish()))).unwrap()
}

/// Returns the text in one line, with `…` in the place of random values.
fn line(text: &str) -> String {
    if !text.trim_start().starts_with('{') {
        return text.to_owned();
    }
    let mut value: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    for pointer in ["/user/params/_GOOGLE_ASSISTANT_USER_ID_", "/visitor/id"] {
        if let Some(id) = value.pointer_mut(pointer) {
            *id = "…".into();
        }
    }
    for context in value["outputContexts"].as_array_mut().into_iter().flatten() {
        let name = context["name"].as_str().unwrap();
        if let Some((session, suffix)) = name.split_once("_jovo_session_") {
            assert!(suffix == "…" || suffix.len() == 5, "{name}");
            context["name"] = format!("{session}_jovo_session_…").into();
        }
    }
    if value["outputContexts"].is_null() {
        value.as_object_mut().unwrap().shift_remove("outputContexts");
    }
    value.to_string()
}

async fn check(row: &Row<'static>) {
    let here = format!("{}, {}", row.platform, row.title);
    let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/visitor/id");
    let kiosk = kiosk.session_id("/visit/id").session_data("/visit/data");
    let kiosk = kiosk.reply_session_data("/visit/data").reply_user_id("/visitor/id");
    let viber = JsonPlatform::new("viber").detect("/event").detect("/timestamp");
    let viber = viber.detect("/message_token").event_id("/message_token");
    let viber = viber.user_id(["/sender/id", "/user/id", "/user_id"]);
    let connect = JsonPlatform::new("connect").detect("/Name");
    let connect = connect.detect("/Details/ContactData/ContactId");
    let connect = connect.user_id("/Details/ContactData/CustomerEndpoint/Address");
    let connect = connect.shared_ids(["anonymous"]);
    let connect = connect.conversation_id("/Details/ContactData/ContactId");
    let openai = JsonPlatform::new("openai").detect("/model");
    let openai = openai.detect(["/messages/0/content", "/input"]);
    let ag_ui = JsonPlatform::new("ag-ui").detect("/threadId").detect("/runId");
    let ag_ui = ag_ui.conversation_id("/threadId");
    let a2a = JsonPlatform::new("a2a").detect_value("/jsonrpc", "2.0");
    let a2a = a2a.detect("/params/message/messageId");
    let a2a = a2a.conversation_id("/params/message/contextId");
    let clock = Clock::new();
    let layer = PersistenceLayer::new(MemoryDb::new()).clock(clock.reader());
    let layer = layer.platform(kiosk).platform(viber).platform(connect);
    let layer = layer.platform(openai).platform(ag_ui).platform(a2a);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let (notes, answer) = (seen.clone(), row.handler.unwrap_or("{}"));
    let app = serve(&layer, move |request| {
        let notes = notes.clone();
        async move {
            let (user, session) = {
                let extensions = request.extensions();
                (extensions.get::<User>().cloned(), extensions.get::<Session>().cloned())
            };
            let body = request.into_body().collect().await?.to_bytes();
            let body = String::from_utf8(body.to_vec())?;
            let facts = found(user.as_ref(), session.as_ref());
            let platform = user.as_ref().map(|user| user.platform().to_owned());
            if let Some(user) = user {
                user.increment("visits", 1)?;
            }
            if let Some(session) = session {
                // Writing is an error if the session is kept nowhere.
                let _ = session.increment("steps", 1);
            }
            notes.lock().unwrap().push((platform, facts, body));
            Ok(reply(200, answer))
        }
    });
    let request = request(row);
    let sent = request.body().clone().collect().await.unwrap().to_bytes();
    let sent = String::from_utf8(sent.to_vec()).unwrap();
    let response = send(&app, request).await;
    response.assert_ok();

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let bodies: Vec<_> = seen.iter().map(|(.., body)| line(body)).collect();
    let expected = if row.events.is_empty() { &vec![&*sent] } else { &row.events };
    assert_eq!(bodies, expected.iter().map(|json| line(json)).collect::<Vec<_>>(), "{here}");
    for (platform, facts, _) in &seen {
        assert!(platform.as_ref().is_none_or(|platform| platform == row.platform), "{here}");
        let facts: Vec<_> = facts.iter().map(|(name, fact)| (*name, fact.as_str())).collect();
        let said: Vec<_> = row.facts.iter().copied().filter(|(name, _)| !is_key(name)).collect();
        assert_eq!(facts, said, "{here}");
    }
    for (_, key) in row.facts.iter().filter(|(name, _)| is_key(name)) {
        let stored = layer.database().load(key.trim_matches('`')).await.unwrap();
        assert!(stored.is_some(), "{here}: {key}");
    }
    match row.reply {
        Some(expected) => {
            let text = std::str::from_utf8(&response.body).unwrap();
            assert_eq!(line(text), line(expected), "{here}");
            assert!(row.handler != row.reply || Some(text) == row.handler, "{here}");
        }
        None => assert!(response.body.is_empty(), "{here}"),
    }
    let users = seen.iter().filter(|(platform, ..)| platform.is_some()).count();
    let further_names = row.facts.iter().filter(|(name, _)| *name == "Further name").count();
    assert_eq!(layer.database().len(), users.min(1) + further_names, "{here}");
}

#[tokio::test]
async fn every_statement_of_the_page_holds() {
    for row in rows() {
        check(&row).await;
    }
}

#[test]
fn the_page_has_every_platform() {
    let described: BTreeSet<_> = rows().iter().map(|row| row.platform).collect();
    let layer = format!("{:?}", PersistenceLayer::new(MemoryDb::new()));
    let (_, names) = layer.split_once("platforms: [").unwrap();
    let (names, _) = names.split_once(']').unwrap();
    let mut expected: BTreeSet<_> = names.split(", ").map(|name| name.trim_matches('"')).collect();
    expected.extend(["kiosk", "viber", "connect", "openai", "ag-ui", "a2a"]);
    assert_eq!(described, expected);
}
