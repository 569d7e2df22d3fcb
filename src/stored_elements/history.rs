//! The settings of the stored history.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The settings of the stored history: its size, and the elements of each history item.
///
/// ```
/// use tower_persistence::stored_elements::{HistoryElement, StoredElements};
///
/// let history = HistoryElement::new().size(10).input(true).output(false);
/// let elements = StoredElements::new().history(history);
/// ```
#[derive(Clone)]
pub struct HistoryElement {
    pub(crate) size: usize,
    pub(crate) input: bool,
    pub(crate) nlu: bool,
    pub(crate) asr: bool,
    pub(crate) state: bool,
    pub(crate) output: bool,
    pub(crate) request: bool,
    pub(crate) response: bool,
    /// The app's own elements, which read the handles; only `turn` knows their type.
    pub(crate) custom: Vec<(Arc<str>, Arc<dyn Any + Send + Sync>)>,
}

impl Default for HistoryElement {
    fn default() -> Self {
        Self {
            size: 3,
            input: false,
            nlu: true,
            asr: false,
            state: false,
            output: true,
            request: false,
            response: false,
            custom: Vec::new(),
        }
    }
}

impl HistoryElement {
    /// Creates the default settings: the last 3 turns, each with `output` and `nlu`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many turns are kept, the newest first. Default: 3. With 0, every request is
    /// answered with a [configuration](crate::Error::is_configuration) error.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().size(10);
    /// ```
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets whether `input` is kept: the input's type, intent, entities and text. Default: `false`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().input(true);
    /// ```
    #[must_use]
    pub fn input(mut self, on: bool) -> Self {
        self.input = on;
        self
    }

    /// Sets whether `nlu` is kept: the intent and entities that the platform found. Default:
    /// `true`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().nlu(false);
    /// ```
    #[must_use]
    pub fn nlu(mut self, on: bool) -> Self {
        self.nlu = on;
        self
    }

    /// Sets whether `asr` is kept: the transcript of the platform's speech recognition. Default:
    /// `false`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().asr(true);
    /// ```
    #[must_use]
    pub fn asr(mut self, on: bool) -> Self {
        self.asr = on;
        self
    }

    /// Sets whether `state` is kept: the session's state at the end of the turn. Default: `false`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().state(true);
    /// ```
    #[must_use]
    pub fn state(mut self, on: bool) -> Self {
        self.state = on;
        self
    }

    /// Sets whether `output` is kept: the value that the handler passes to
    /// [`History::set_output`](crate::History::set_output). Default: `true`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().output(false);
    /// ```
    #[must_use]
    pub fn output(mut self, on: bool) -> Self {
        self.output = on;
        self
    }

    /// Sets whether `request` is kept: the request's JSON with all its access tokens, but without
    /// the id of the person speaking. Default: `false`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().request(true);
    /// ```
    #[must_use]
    pub fn request(mut self, on: bool) -> Self {
        self.request = on;
        self
    }

    /// Sets whether `response` is kept: the reply as the handler wrote it, if it is declared as
    /// JSON, is not compressed, is no longer than `reply_limit` and is complete within
    /// `reply_timeout`. Default: `false`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new().response(true);
    /// ```
    #[must_use]
    pub fn response(mut self, on: bool) -> Self {
        self.response = on;
        self
    }

    /// Returns whether an element needs the platform's [input](crate::Platform::input).
    pub(crate) fn asks_platform(&self) -> bool {
        self.input || self.nlu || self.asr
    }

    /// Returns the option that is zero and must not be.
    pub(super) fn zero_setting(&self) -> Option<&'static str> {
        (self.size == 0).then_some("HistoryElement::size")
    }
}

impl fmt::Debug for HistoryElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryElement")
            .field("size", &self.size)
            .field("input", &self.input)
            .field("nlu", &self.nlu)
            .field("asr", &self.asr)
            .field("state", &self.state)
            .field("output", &self.output)
            .field("request", &self.request)
            .field("response", &self.response)
            .field("custom", &self.custom.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}
