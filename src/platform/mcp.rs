//! The Model Context Protocol.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::raw::{id, is_object, member, members, read, text};
use super::{Document, Event, Input, Platform, PlatformRequest, is_id};

/// The Model Context Protocol by Streamable HTTP ([transport]): tools for assistants, among them
/// ChatGPT's apps and Alexa's add-ons.
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | `jsonrpc: "2.0"` and a `method` of the protocol, such as `tools/call` |
/// | user id | – |
/// | conversation, session id | `params._meta["openai/session"]` of ChatGPT, else the header `Mcp-Session-Id` |
///
/// **The body names no user.** The user is the subject of the access token that an authentication
/// layer in front has verified; without one, the request has no user.
///
/// The header belongs to versions of the protocol up to 2025-11-25; since 2026-07-28 there are no
/// sessions, and an app's state is what its tools take and return. Requests of [A2A], which is
/// JSON-RPC as well, are not recognised: their `params.message` has a `messageId`.
///
/// [transport]: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
/// [A2A]: https://a2a-protocol.org
#[derive(Clone, Copy, Debug, Default)]
pub struct Mcp;

/// The methods without a slash, and the first parts of the others.
const METHODS: [&str; 11] = [
    "initialize",
    "ping",
    "completion",
    "elicitation",
    "logging",
    "notifications",
    "prompts",
    "resources",
    "roots",
    "server",
    "tools",
];

impl Platform for Mcp {
    fn name(&self) -> &str {
        "mcp"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let document = request.json()?;
        if !document.is("jsonrpc", "2.0") || !is_method(document) {
            return None;
        }
        let [meta, message] = document.members("params", ["_meta", "message"]);
        if is_object(message) && members(message, ["messageId"])[0].is_some() {
            return None;
        }
        let header = request.head().headers.get("mcp-session-id");
        let header = header.and_then(|header| header.to_str().ok());
        let conversation =
            session(meta).or_else(|| header.filter(|it| is_id(it)).map(Cow::Borrowed));
        Some(vec![Event::default().conversation(conversation)])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let [tool, arguments] = request.members("params", ["name", "arguments"]);
        match text(tool) {
            Some(tool) if request.is("method", "tools/call") => {
                let arguments: Map<_, _> = read(arguments);
                let entity = |(name, value): (String, Value)| (name, json!({ "value": value }));
                let entities = arguments.into_iter().map(entity).collect();
                Input::intent(&tool, Value::Object(entities))
            }
            _ => Input::default(),
        }
    }
}

fn is_method(request: &Document<'_>) -> bool {
    text(request.get("method")).is_some_and(|method| {
        let (first, rest) = method.split_once('/').map_or((&*method, None), |(a, b)| (a, Some(b)));
        let has_slash = !["initialize", "ping"].contains(&first);
        METHODS.contains(&first) && has_slash == rest.is_some_and(|rest| !rest.is_empty())
    })
}

/// Returns the conversation that ChatGPT names.
fn session(meta: Option<&RawValue>) -> Option<Cow<'_, str>> {
    // The name holds a slash, so it is not a path.
    id(member(meta?, "openai/session"))
}
