use super::{Document, Event, Input, Platform, facebook_messenger};

/// Instagram messaging ([webhook reference](https://developers.facebook.com/docs/instagram-platform/webhooks)).
///
/// Its requests are those of [`FacebookMessenger`](super::FacebookMessenger) with `object: "instagram"`; an entry by
/// itself has `$type: "instagram"`, as Jovo marks it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instagram;

impl Platform for Instagram {
    fn name(&self) -> &str {
        "instagram"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        let is_entry = || request.get("object").is_none() && request.is("$type", "instagram");
        facebook_messenger::batch(request, "instagram")
            .or_else(|| is_entry().then(|| facebook_messenger::entry(request)).flatten())
    }

    fn input(&self, request: &Document<'_>) -> Input {
        facebook_messenger::input(request)
    }
}
