//! Instagram messaging; its batches are read by `meta`.

use super::{Event, Input, Platform, PlatformRequest, meta};

/// Instagram messaging ([webhook
/// reference](https://developers.facebook.com/docs/instagram-platform/webhooks)).
///
/// Its requests are those of [`FacebookMessenger`](super::FacebookMessenger) with
/// `object: "instagram"`; a single entry has `$type: "instagram"`, as Jovo marks it. Instagram
/// sends echoes among the messages without a subscription to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instagram {
    echoes: bool,
}

impl Instagram {
    /// Creates the platform with its defaults: echoes are skipped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether echoes are passed to the handler, as
    /// [`FacebookMessenger::echoes`](super::FacebookMessenger::echoes) does. Default: `false`,
    /// echoes are skipped with an empty 200.
    ///
    /// ```
    /// use tower_persistence::platform::Instagram;
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let instagram = Instagram::new().echoes(true);
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platforms(vec![Box::new(instagram)]);
    /// ```
    #[must_use]
    pub fn echoes(mut self, echoes: bool) -> Self {
        self.echoes = echoes;
        self
    }
}

impl Platform for Instagram {
    fn name(&self) -> &str {
        "instagram"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let is_entry = || request.get("object").is_none() && request.is("$type", "instagram");
        meta::batch(request, "instagram", self.echoes)
            .or_else(|| is_entry().then(|| meta::entry(request, self.echoes)).flatten())
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        meta::input(request)
    }
}
