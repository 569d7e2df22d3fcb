//! The questions that platforms ask before they send events. Only the layer that has the secret can
//! answer them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::query;
use super::secrets::Secrets;
use crate::platform::Document;

/// A question of a platform, with the answer to it.
#[derive(Debug, PartialEq)]
pub(super) enum Handshake {
    /// Slack's `url_verification`, with the challenge
    /// (<https://docs.slack.dev/reference/events/url_verification>).
    Slack(String),
    /// Discord's PING of an interactions endpoint
    /// (<https://discord.com/developers/docs/interactions/overview#setting-up-an-endpoint>).
    DiscordPing,
    /// Discord's PING of a webhook events endpoint
    /// (<https://discord.com/developers/docs/events/webhook-events#preparing-for-events>).
    DiscordEventsPing,
    /// LINE's check of the connection: no events
    /// (<https://developers.line.biz/en/reference/messaging-api/#request-body>).
    Line,
}

impl Handshake {
    /// Returns the handshake in a request's body.
    pub(super) fn of(body: &Document<'_>) -> Option<Self> {
        let has = |name| body.get(name).is_some();
        if text(body.get("type")).is_some_and(|kind| kind == "url_verification") {
            return text(body.get("challenge")).map(Self::Slack);
        }
        if text(body.get("destination")).is_some() && body.get("events").is_some_and(is_empty_array)
        {
            return Some(Self::Line);
        }
        let is_discords = text(body.get("application_id")).is_some() && has("version");
        match body.get("type").map(RawValue::get) {
            Some("1") if is_discords && !has("event") => Some(Self::DiscordPing),
            Some("0") if is_discords && !has("event") => Some(Self::DiscordEventsPing),
            _ => None,
        }
    }

    /// Returns the name of the platform that asks.
    pub(super) fn platform(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::DiscordPing | Self::DiscordEventsPing => "discord",
            Self::Line => "line",
        }
    }

    pub(super) fn answer(self) -> Response<Bytes> {
        match self {
            Self::Slack(challenge) => plain(StatusCode::OK, challenge),
            Self::DiscordPing => {
                let mut response = Response::new(Bytes::from_static(br#"{"type":1}"#));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Self::DiscordEventsPing => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                // Discord asks for the header although there is no body.
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Self::Line => Response::new(Bytes::new()),
        }
    }
}

/// Answers Meta's question whether the app knows the verify token, by its challenge; another token
/// by 403. `None` if the request asks nothing
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests>).
pub(super) fn meta(uri: &Uri, verify_tokens: &Secrets) -> Option<Response<Bytes>> {
    let query = uri.query()?;
    if query::value(query, "hub.mode")? != "subscribe" {
        return None;
    }
    let token = query::value(query, "hub.verify_token")?;
    let challenge = query::value(query, "hub.challenge")?;
    // Meta sends a number. A browser that is led here must not get a page of the caller's making.
    let is_harmless = challenge.len() <= 256
        && challenge.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-.".contains(&it));
    Some(if is_harmless && verify_tokens.contain(token.as_bytes()) {
        plain(StatusCode::OK, challenge)
    } else {
        plain(StatusCode::FORBIDDEN, "the verify token is wrong".to_owned())
    })
}

fn plain(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns the value if it is a text.
pub(super) fn text(value: Option<&RawValue>) -> Option<String> {
    String::deserialize(value?).ok()
}

fn is_empty_array(value: &RawValue) -> bool {
    let inside = value.get().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_from_events() {
        let of = |body: &str| Handshake::of(&Document::parse(body.as_bytes()).unwrap());
        let slack = r#"{"token":"t","challenge":"c1","type":"url_verification"}"#;
        assert_eq!(of(slack), Some(Handshake::Slack("c1".to_owned())));
        let ping = r#"{"application_id":"1","id":"2","token":"t","type":1,"version":1}"#;
        assert_eq!(of(ping), Some(Handshake::DiscordPing));
        let ping = r#"{"version":1,"application_id":"1","type":0}"#;
        assert_eq!(of(ping), Some(Handshake::DiscordEventsPing));
        assert_eq!(of(r#"{"destination":"U1","events":[ ]}"#), Some(Handshake::Line));
        for other in [
            r#"{"type":"event_callback","challenge":"c1"}"#,
            r#"{"type":"url_verification"}"#,
            r#"{"application_id":"1","type":2,"version":1}"#,
            r#"{"application_id":"1","type":1,"version":1,"event":{"type":"X"}}"#,
            r#"{"application_id":"1","type":0,"version":1,"event":{"type":"X"}}"#,
            r#"{"application_id":"1","type":1}"#,
            r#"{"application_id":"1","type":0}"#,
            r#"{"type":1,"version":1}"#,
            r#"{"destination":"U1","events":[{}]}"#,
            r#"{"destination":"U1"}"#,
            r#"{"events":[]}"#,
            "[]",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
