//! Jovo Web, which sends the requests of Jovo Core under another name.

use super::{Document, Event, Input, Platform, Reply, ReplyState, core};

/// Jovo Web, for apps in the browser
/// ([documentation](https://www.jovo.tech/marketplace/platform-web)).
///
/// Its requests are those of [`Core`](super::Core) with `platform: "web"`, in version 3
/// `type: "jovo-platform-web"`. As there, the client keeps the session, so its contents are
/// untrusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Web;

impl Platform for Web {
    fn name(&self) -> &str {
        "web"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        core::recognise(request, "web", "jovo-platform-web")
    }

    fn has_client_sessions(&self) -> bool {
        true
    }

    fn write_reply(&self, request: &Document<'_>, state: &ReplyState<'_>, reply: &mut Reply) {
        core::write_reply(request, state, reply);
    }

    fn empty_reply(&self) -> &'static str {
        r#"{"version":"4.0","platform":"web","output":[],"context":{"request":{},"session":{"data":{},"end":false},"user":{}}}"#
    }

    fn input(&self, request: &Document<'_>) -> Input {
        core::input(request)
    }
}
