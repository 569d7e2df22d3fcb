//! The user's input, as a platform reports it for the history.

use std::fmt;

use serde_json::{Map, Value, json};

/// The user's input in Jovo v4's form, for the history.
///
/// ```
/// use serde_json::json;
/// use tower_persistence::platform::Input;
///
/// let order = json!({ "drink": { "value": "tea" } });
/// let input = Input::intent("OrderIntent", order).text("a tea please");
/// assert_eq!(input.input.unwrap()["type"], "INTENT");
/// assert_eq!(input.nlu.unwrap()["entities"]["drink"]["value"], "tea");
/// assert_eq!(input.asr, None);
/// ```
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Input {
    /// The input: its `type` (`LAUNCH`, `INTENT`, `TEXT`, `END`, …), and its `intent`, `entities`
    /// and `text`, as far as there are any.
    pub input: Option<Value>,
    /// The platform's interpretation: `{"intent": {"name": …}, "entities": {…}}`.
    pub nlu: Option<Value>,
    /// The transcript of the platform's speech recognition: `{"text": …}`.
    pub asr: Option<Value>,
}

impl Input {
    /// Creates an input with only a type, such as `LAUNCH` or `END`.
    ///
    /// ```
    /// use tower_persistence::platform::Input;
    ///
    /// assert_eq!(Input::of_type("LAUNCH").input.unwrap()["type"], "LAUNCH");
    /// ```
    #[must_use]
    pub fn of_type(kind: &str) -> Self {
        Self { input: Some(json!({ "type": kind })), ..Self::default() }
    }

    /// Creates an input of type `INTENT`. `entities` is an object that holds an object for each
    /// name.
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_persistence::platform::Input;
    ///
    /// let input = Input::intent("OrderIntent", json!({ "drink": { "value": "tea" } }));
    /// assert_eq!(input.nlu.unwrap()["intent"]["name"], "OrderIntent");
    /// ```
    #[must_use]
    pub fn intent(name: &str, entities: Value) -> Self {
        let nlu = json!({ "intent": { "name": name }, "entities": &entities });
        let mut input = json!({ "type": "INTENT", "intent": name });
        input["entities"] = entities;
        Self { input: Some(input), nlu: Some(nlu), asr: None }
    }

    /// Adds the text that the user wrote. Without a type, the input becomes a `TEXT`.
    ///
    /// ```
    /// use tower_persistence::platform::Input;
    ///
    /// let input = Input::default().text("a tea please").input.unwrap();
    /// assert_eq!((&input["type"], &input["text"]), (&"TEXT".into(), &"a tea please".into()));
    /// ```
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        let input = self.input.get_or_insert_with(|| json!({ "type": "TEXT" }));
        input.as_object_mut().unwrap_or(&mut Map::new()).insert("text".into(), text.into());
        self
    }

    /// Adds the transcript of the user's speech, as text and as `asr`.
    ///
    /// ```
    /// use tower_persistence::platform::Input;
    ///
    /// let input = Input::of_type("TRANSCRIBED_SPEECH").speech("a tea please");
    /// assert_eq!(input.asr.unwrap()["text"], "a tea please");
    /// ```
    #[must_use]
    pub fn speech(mut self, text: &str) -> Self {
        self.asr = Some(json!({ "text": text }));
        self.text(text)
    }
}

/// Shows which parts exist, not the user's input.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("has_input", &self.input.is_some())
            .field("has_nlu", &self.nlu.is_some())
            .field("has_asr", &self.asr.is_some())
            .finish()
    }
}
