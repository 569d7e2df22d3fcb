//! The sender of a request, whom each service has to find before it can load anything.

use std::hint::black_box;

use http::request::Parts;
use serde::Deserialize;
use tower_persistence::platform::{Alexa, Platform, PlatformRequest};

/// The parts of Alexa's request that name the user and the session, borrowed: the least that an
/// app on one platform would read.
#[derive(Debug, Deserialize)]
pub struct Borrowed<'a> {
    #[serde(borrow)]
    version: &'a str,
    session: Option<BorrowedSession<'a>>,
    context: BorrowedContext<'a>,
    request: BorrowedRequest<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BorrowedSession<'a> {
    new: bool,
    session_id: &'a str,
    #[serde(borrow)]
    user: BorrowedUser<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BorrowedUser<'a> {
    user_id: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BorrowedContext<'a> {
    #[serde(borrow)]
    system: BorrowedSystem<'a>,
}

#[derive(Debug, Deserialize)]
struct BorrowedSystem<'a> {
    #[serde(borrow)]
    user: BorrowedUser<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BorrowedRequest<'a> {
    request_id: &'a str,
    r#type: &'a str,
}

/// Reads the user's id through a borrowed struct.
pub fn borrowed(body: &[u8]) {
    let read: Borrowed<'_> = serde_json::from_slice(body).expect("Alexa's");
    let session = read.session.as_ref();
    black_box((read.version, read.request.request_id, read.request.r#type));
    black_box(session.map(|session| (session.new, session.session_id, session.user.user_id)));
    black_box(read.context.system.user.user_id);
}

/// Reads the user's id as the layer does for one platform, and passes it on.
pub fn recognised<T>(head: &Parts, body: &[u8], pass: impl FnOnce(&str) -> T) -> T {
    let request = PlatformRequest::parse(head, body).expect("JSON");
    let events = Alexa.recognise(&request).expect("Alexa's");
    pass(events[0].user_id.as_deref().expect("a user"))
}
