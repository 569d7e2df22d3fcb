//! A request as platforms see it.

use std::fmt;

use http::request::Parts;

use super::{Document, Form};
use crate::media_type::{content_type, is_form};

/// A request as platforms see it: the parsed body, JSON or a form, and the head.
///
/// A platform never sees a body's stream, a response or a database.
///
/// ```
/// use tower_persistence::platform::PlatformRequest;
///
/// let request = http::Request::post("/").header("content-type", "application/json");
/// let (head, body) = request.body(r#"{"team":"T1"}"#)?.into_parts();
/// let request = PlatformRequest::parse(&head, body.as_bytes()).expect("JSON");
/// assert_eq!(request.json().unwrap().get("team").unwrap().get(), r#""T1""#);
/// assert!(request.form().is_none());
/// assert_eq!(request.head().uri.path(), "/");
/// # Ok::<(), http::Error>(())
/// ```
pub struct PlatformRequest<'a> {
    head: &'a Parts,
    body: ParsedBody<'a>,
}

enum ParsedBody<'a> {
    Json(Document<'a>),
    Form(Form<'a>),
}

impl<'a> PlatformRequest<'a> {
    /// Parses a request: `body` as a form if the head declares one
    /// (`application/x-www-form-urlencoded`), otherwise as JSON. Returns `None` if it is not JSON
    /// then.
    #[must_use]
    pub fn parse(head: &'a Parts, body: &'a [u8]) -> Option<Self> {
        let body = if content_type(&head.headers).is_some_and(is_form) {
            ParsedBody::Form(Form::parse(body))
        } else {
            ParsedBody::Json(Document::parse(body)?)
        };
        Some(Self { head, body })
    }

    /// Returns the head: method, URI, headers and extensions. Headers are untrusted as the body is;
    /// extensions hold the findings of the layers in front.
    #[must_use]
    pub fn head(&self) -> &'a Parts {
        self.head
    }

    /// Returns the body if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<&Document<'a>> {
        match &self.body {
            ParsedBody::Json(document) => Some(document),
            ParsedBody::Form(_) => None,
        }
    }

    /// Returns the body if it is a form. Only platforms that [read
    /// forms](super::Platform::reads_forms) get one.
    #[must_use]
    pub fn form(&self) -> Option<&Form<'a>> {
        match &self.body {
            ParsedBody::Form(form) => Some(form),
            ParsedBody::Json(_) => None,
        }
    }
}

/// Shows the names of the body's members or fields, neither their values nor headers.
impl fmt::Debug for PlatformRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformRequest")
            .field("json", &self.json())
            .field("form", &self.form())
            .finish_non_exhaustive()
    }
}
