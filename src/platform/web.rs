//! Jovo Web, which sends the requests of Jovo Core under another name.

use super::{Event, Input, Platform, PlatformRequest, Reply, ReplyState, core};

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

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        core::recognise(request, "web", "jovo-platform-web")
    }

    fn has_client_sessions(&self) -> bool {
        true
    }

    fn write_reply(
        &self,
        request: &PlatformRequest<'_>,
        state: &ReplyState<'_>,
        reply: &mut Reply,
    ) {
        let Some(request) = request.json() else { return };
        core::write_reply(request, state, reply);
    }

    fn empty_reply(&self) -> &'static str {
        r#"{"version":"4.0","platform":"web","output":[],"context":{"request":{},"session":{"data":{},"end":false},"user":{}}}"#
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        core::input(request)
    }
}
