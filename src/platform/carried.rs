use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Event;
use super::raw::read;
use crate::timestamp;

/// What a platform is to bring back with the user's next request: see [`Platform::write_reply`](super::Platform::write_reply).
#[derive(Debug)]
#[non_exhaustive]
pub struct Carried<'a> {
    /// The session, where the platform carries it and there is something to carry.
    pub session: Option<&'a CarriedSession>,
    /// The user id that was created in this turn.
    pub created_user_id: Option<&'a str>,
}

/// The name under which Jovo v3 keeps the state among the session data.
const STATE: &str = "_JOVO_STATE_";

/// The members of Jovo v4's session beside those that are the app's own: what they say is known from the request.
const BOOKKEEPING: [&str; 4] = ["id", "isNew", "createdAt", "updatedAt"];

/// A session as it goes to the platform and comes back.
///
/// It has one of two forms: Jovo v4's [`envelope`](Self::envelope), or plain [`attributes`](Self::attributes) as other SDKs and Jovo v3 have
/// them. What came in one form goes back in the same.
///
/// ```
/// use serde_json::json;
/// use tower_persistence::platform::CarriedSession;
///
/// let attributes = json!({ "lives": 3, "_JOVO_STATE_": "Game" });
/// let session = CarriedSession::from(attributes.as_object().unwrap().clone());
/// assert_eq!(session.data()["lives"], 3);
/// assert_eq!(session.state().unwrap(), "Game");
/// assert!(!session.is_envelope());
/// assert_eq!(session.attributes(), attributes);
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct CarriedSession {
    id: Option<String>,
    is_new: bool,
    created_at: Option<Value>,
    updated_at: Option<Value>,
    data: Map<String, Value>,
    state: Option<Value>,
    /// Members of an envelope that are nobody's we know.
    others: Map<String, Value>,
    is_plain: bool,
}

impl CarriedSession {
    /// The session that came along with an event.
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        let session = read(Some(event.session_data.as_deref()?));
        Some(if event.is_session_plain { Self::plain(session) } else { session.into() })
    }

    fn plain(mut attributes: Map<String, Value>) -> Self {
        let state = attributes.shift_remove(STATE);
        Self { data: attributes, state, is_plain: true, ..Self::default() }
    }

    fn from_envelope(mut attributes: Map<String, Value>) -> Self {
        let data = match attributes.shift_remove("data") {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        let is_set = |state: &Value| !state.is_null() && *state != Value::Array(Vec::new());
        let state = attributes.shift_remove("state").filter(is_set);
        let created_at = attributes.get("createdAt").filter(|time| time.is_string()).cloned();
        attributes.retain(|name, _| !BOOKKEEPING.contains(&name.as_str()));
        Self { created_at, data, state, others: attributes, ..Self::default() }
    }

    /// The platform's id of the session, where the request has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }

    /// The state, where one is set.
    #[must_use]
    pub fn state(&self) -> Option<&Value> {
        self.state.as_ref()
    }

    /// Whether it goes to the platform as an [`envelope`](Self::envelope): a session that is new, and one that came so.
    #[must_use]
    pub fn is_envelope(&self) -> bool {
        !self.is_plain
    }

    /// Jovo v4's form: `id`, `data`, `state`, `isNew`, `createdAt` and `updatedAt`, as far as they are known.
    #[must_use]
    pub fn envelope(&self) -> Value {
        let members = [
            ("id", self.id.clone().map(Value::from)),
            ("data", Some(self.data.clone().into())),
            ("state", self.state.clone()),
            ("isNew", Some(self.is_new.into())),
            ("createdAt", self.created_at.clone()),
            ("updatedAt", self.updated_at.clone()),
        ];
        let known = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        known.chain(self.others.clone()).collect::<Map<_, _>>().into()
    }

    /// The data with the state in it, if there is one, as `_JOVO_STATE_`.
    #[must_use]
    pub fn attributes(&self) -> Value {
        let state = self.state.iter().map(|state| (STATE.to_owned(), state.clone()));
        self.data.clone().into_iter().chain(state).collect::<Map<_, _>>().into()
    }

    /// The session in the form in which it came.
    #[must_use]
    pub fn as_it_came(&self) -> Value {
        if self.is_plain { self.attributes() } else { self.envelope() }
    }

    pub(crate) fn has_something(&self) -> bool {
        !self.data.is_empty() || self.state.is_some() || !self.others.is_empty()
    }

    pub(crate) fn data_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.data
    }

    pub(crate) fn set_state(&mut self, state: Option<Value>) {
        self.state = state;
    }

    /// What is left of it when another one starts: its form.
    pub(crate) fn clear(&mut self) {
        *self = Self { is_plain: self.is_plain, ..Self::default() };
    }

    /// Notes whose session it is, and when this turn was.
    pub(crate) fn stamp(&mut self, id: Option<&str>, is_new: bool, now: SystemTime) {
        let now = Value::from(timestamp::format(now));
        self.id = id.map(str::to_owned);
        self.is_new = is_new;
        self.created_at.get_or_insert_with(|| now.clone());
        self.updated_at = Some(now);
    }
}

/// What came as this JSON, in the form that it seems to have.
impl From<Map<String, Value>> for CarriedSession {
    fn from(session: Map<String, Value>) -> Self {
        if is_envelope(&session) { Self::from_envelope(session) } else { Self::plain(session) }
    }
}

/// Whether these are Jovo v4's: `data` or `state`, and beside them something that only Jovo writes, or nothing else.
fn is_envelope(attributes: &Map<String, Value>) -> bool {
    let has = |name: &str| attributes.contains_key(name);
    let is_known = |name: &String| {
        ["data", "state", "end"].contains(&name.as_str()) || BOOKKEEPING.contains(&name.as_str())
    };
    (has("data") || has("state"))
        && attributes.get("data").is_none_or(Value::is_object)
        && (has("isNew") || has("updatedAt") || attributes.keys().all(is_known))
}

/// Shows how much there is, not what it says.
impl fmt::Debug for CarriedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedSession")
            .field("is_envelope", &self.is_envelope())
            .field("keys", &self.data.len())
            .field("has_state", &self.state.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn came(session: Value) -> CarriedSession {
        let Value::Object(session) = session else { panic!("an object") };
        session.into()
    }

    #[test]
    fn jovos_session_is_told_from_plain_attributes() {
        for envelope in [
            json!({ "data": {} }),
            json!({ "data": { "lives": 3 }, "state": [{ "component": "Game" }] }),
            json!({ "state": [{ "component": "Game" }] }),
            json!({ "id": "s", "data": {}, "isNew": true, "createdAt": "t", "updatedAt": "t" }),
            json!({ "id": "s", "data": {}, "isNew": true, "_GOOGLE_ASSISTANT_REPROMPTS_": {} }),
        ] {
            assert!(came(envelope.clone()).is_envelope(), "{envelope}");
        }
        for plain in [
            json!({}),
            json!({ "lives": 3 }),
            json!({ "data": "text", "state": "Game", "isNew": true }),
            json!({ "data": { "a": 1 }, "lives": 3 }),
            json!({ "state": "Game", "_JOVO_STATE_": "Quiz" }),
            json!({ "id": "s" }),
        ] {
            let session = came(plain.clone());
            assert!(!session.is_envelope(), "{plain}");
            assert_eq!(session.as_it_came(), plain);
        }
    }

    #[test]
    fn an_empty_state_is_none_and_unknown_members_stay() {
        for state in [json!([]), json!(null)] {
            assert_eq!(came(json!({ "data": {}, "state": state })).state(), None);
        }
        let session = came(json!({ "data": {}, "updatedAt": "t", "mine": 1 }));
        assert!(session.data().is_empty());
        assert_eq!(session.as_it_came(), json!({ "data": {}, "isNew": false, "mine": 1 }));
    }
}
