//! Client-side sessions, in the two forms in which platforms send them back.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::kept::{KeptObject, KeptValue, Pairs, object, quoted};
use super::{Event, raw};
use crate::timestamp;

/// The session and user id that a platform should send back with the user's next request, as
/// [`Platform::write_reply`](super::Platform::write_reply) writes them into the reply.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReplyState<'a> {
    /// The session, if the platform keeps sessions and there is something to keep.
    pub session: Option<&'a ClientSession>,
    /// The user id that was created during this turn.
    pub created_user_id: Option<&'a str>,
}

/// Jovo v3's name for the state within the session data.
const STATE: &str = "_JOVO_STATE_";

/// Members of Jovo v4's session besides the app's own. They are not kept: each request states them
/// anew.
const BOOKKEEPING: [&str; 4] = ["id", "isNew", "createdAt", "updatedAt"];

/// The form of the session data in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionForm {
    /// Jovo v4's envelope or plain attributes; the data itself shows which.
    #[default]
    Either,
    /// The data itself, whatever it looks like.
    Plain,
    /// An envelope with `data` and `state`, as in Jovo v4, whatever else it holds.
    Envelope,
}

/// A client-side session: one that the platform keeps and sends back with the next request.
///
/// It has one of two forms: Jovo v4's [`envelope`](Self::envelope), or plain
/// [`attributes`](Self::attributes), as in Jovo v3 and other SDKs. It is returned in the form in
/// which it arrived, and members that no handler changed are returned byte for byte, including
/// those that cannot be read: a lone surrogate, a number beyond `f64`, more than 127 levels.
///
/// ```
/// use serde_json::value::RawValue;
/// use tower_persistence::platform::ClientSession;
///
/// let attributes: &RawValue = serde_json::from_str(
///     r#"{"lives":3,"nick":"cut \ud83d","_JOVO_STATE_":"Game"}"#,
/// )?;
/// let session = ClientSession::from(attributes);
/// assert_eq!(session.data()["lives"], 3);
/// assert_eq!(session.data().get("nick"), None, "a lone surrogate cannot be read");
/// assert_eq!(session.state().unwrap(), "Game");
/// assert!(!session.is_envelope());
/// assert_eq!(session.attributes().get(), attributes.get());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct ClientSession {
    id: Option<String>,
    is_new: bool,
    /// JSON text, as is everything that need not be read.
    created_at: Option<String>,
    updated_at: Option<String>,
    data: KeptObject,
    state: Option<KeptValue>,
    /// Members of an envelope that this crate does not know: quoted names, and values.
    others: Vec<(String, String)>,
    is_plain: bool,
}

impl ClientSession {
    /// Returns the session that arrived with `event`.
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        let data = event.session_data.as_deref()?;
        let session = match event.session_form {
            SessionForm::Either => data.into(),
            SessionForm::Plain => Self::plain(Pairs::of(Some(data))),
            SessionForm::Envelope => Self::from_envelope(Pairs::of(Some(data))),
        };
        let state = session.state.iter().filter(|state| state.value().is_none()).count();
        let unreadable = session.data.unreadable().count() + state;
        if unreadable > 0 {
            tracing::warn!(
                members = unreadable,
                "some members of the request's session cannot be read (a lone surrogate, a number \
                 out of range, too many levels): `data` omits them, and they are sent back \
                 unchanged; set or remove their keys to replace them"
            );
        }
        Some(session)
    }

    fn plain(mut attributes: Pairs<'_>) -> Self {
        let mut state = None;
        attributes.0.retain(|(name, value)| {
            let is_state = raw::name(name) == STATE;
            if is_state {
                state = Some(KeptValue::from(*value));
            }
            !is_state
        });
        Self { data: KeptObject::of(attributes), state, is_plain: true, ..Self::default() }
    }

    fn from_envelope(members: Pairs<'_>) -> Self {
        let mut session = Self::default();
        for (name, value) in members.0 {
            match &*raw::name(name) {
                "data" => session.data = KeptObject::of(Pairs::of(Some(value))),
                "state" => {
                    let state = Some(value).filter(|state| !raw::is_empty_list(state));
                    session.state = state.map(KeptValue::from);
                }
                "createdAt" if value.get().starts_with('"') => {
                    session.created_at = Some(value.get().to_owned());
                }
                name if BOOKKEEPING.contains(&name) => {}
                _ => session.others.push((name.get().to_owned(), value.get().to_owned())),
            }
        }
        session
    }

    /// Returns the platform's id of the session, if the request has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the data, without the members that cannot be read.
    #[must_use]
    pub fn data(&self) -> &Map<String, Value> {
        self.data.values()
    }

    /// Returns the state, if one is set and can be read.
    #[must_use]
    pub fn state(&self) -> Option<&Value> {
        self.state.as_ref()?.value()
    }

    /// Returns whether the session is sent as an [`envelope`](Self::envelope): new sessions are,
    /// and sessions that arrived as one.
    #[must_use]
    pub fn is_envelope(&self) -> bool {
        !self.is_plain
    }

    /// Returns Jovo v4's form: those of `id`, `data`, `state`, `isNew`, `createdAt` and `updatedAt`
    /// that are known.
    ///
    /// ```
    /// use tower_persistence::platform::ClientSession;
    ///
    /// let session = ClientSession::default();
    /// assert_eq!(session.envelope().get(), r#"{"data":{},"isNew":false}"#);
    /// ```
    #[must_use]
    pub fn envelope(&self) -> Box<RawValue> {
        let text = |text: &str| Some(text.to_owned());
        let members = [
            (r#""id""#, self.id.as_deref().map(quoted)),
            (r#""data""#, text(self.data_text().get())),
            (r#""state""#, self.state.as_ref().and_then(|state| text(state.text()))),
            (r#""isNew""#, Some(self.is_new.to_string())),
            (r#""createdAt""#, self.created_at.clone()),
            (r#""updatedAt""#, self.updated_at.clone()),
        ];
        let known = members.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?)));
        let others = self.others.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        object(known.chain(others))
    }

    /// Returns the data as plain attributes; the state, if there is one, is `_JOVO_STATE_` in them.
    #[must_use]
    pub fn attributes(&self) -> Box<RawValue> {
        object(self.attribute_texts())
    }

    /// Returns the members of [`attributes`](Self::attributes), with quoted names.
    pub(super) fn attribute_texts(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut members = self.data.members();
        let state = self.state.as_ref().map(|state| Cow::Borrowed(state.text()));
        members.extend(state.map(|state| (Cow::Owned(quoted(STATE)), state)));
        members
    }

    /// Returns the session in the form in which it arrived.
    #[must_use]
    pub fn as_it_came(&self) -> Box<RawValue> {
        if self.is_plain { self.attributes() } else { self.envelope() }
    }

    /// Returns the data, including the members that cannot be read.
    pub(super) fn data_text(&self) -> Box<RawValue> {
        object(self.data.members())
    }

    /// Returns the state, even if it cannot be read.
    pub(super) fn state_text(&self) -> Option<Box<RawValue>> {
        RawValue::from_string(self.state.as_ref()?.text().to_owned()).ok()
    }

    /// Returns whether `key`, or any key if `None`, arrived and cannot be read.
    pub(crate) fn is_unreadable(&self, key: Option<&str>) -> bool {
        self.data.unreadable().any(|unreadable| key.is_none_or(|key| key == unreadable))
    }

    /// Drops the unreadable members with a key that was written to.
    pub(crate) fn drop_unreadable(&mut self, is_written: impl Fn(&str) -> bool) {
        self.data.drop_unreadable(is_written);
    }

    pub(crate) fn has_something(&self) -> bool {
        !self.data.is_empty() || self.state.is_some() || !self.others.is_empty()
    }

    pub(crate) fn data_mut(&mut self) -> &mut Map<String, Value> {
        self.data.values_mut()
    }

    pub(crate) fn set_state(&mut self, state: Option<Value>) {
        self.state = state.map(KeptValue::from);
    }

    /// Empties the session when another one starts, but keeps its form.
    pub(crate) fn clear(&mut self) {
        *self = Self { is_plain: self.is_plain, ..Self::default() };
    }

    /// Sets the session's id, whether it is new, and the time of this turn.
    pub(crate) fn stamp(&mut self, id: Option<&str>, is_new: bool, now: SystemTime) {
        let now = quoted(&timestamp::format(now));
        self.id = id.map(str::to_owned);
        self.is_new = is_new;
        self.created_at.get_or_insert_with(|| now.clone());
        self.updated_at = Some(now);
    }
}

/// Reads the session in the form that it appears to have. Anything but an object is an empty
/// session.
impl From<&RawValue> for ClientSession {
    fn from(session: &RawValue) -> Self {
        let members = Pairs::of(Some(session));
        if is_envelope(&members) { Self::from_envelope(members) } else { Self::plain(members) }
    }
}

/// Returns whether `members` are Jovo v4's: `data` or `state`, and a member that only Jovo writes.
///
/// `data` and `state` alone do not suffice: other SDKs may have attributes of that name. Only Jovo
/// writes `isNew` or `updatedAt`. `createdAt`, or a component stack as the state, counts only if
/// there is no unknown member.
fn is_envelope(members: &Pairs<'_>) -> bool {
    let find = |searched: &str| {
        let named = members.0.iter().rev().find(|(name, _)| raw::name(name) == searched);
        named.map(|(_, value)| *value)
    };
    let is_known = |(name, _): &(&RawValue, &RawValue)| {
        let name = raw::name(name);
        ["data", "state"].contains(&&*name) || BOOKKEEPING.contains(&&*name)
    };
    let (data, state) = (find("data"), find("state"));
    (data.is_some() || state.is_some())
        && data.is_none_or(|data| data.get().starts_with('{'))
        && (["isNew", "updatedAt"].iter().any(|name| find(name).is_some())
            || (find("createdAt").is_some() || is_stack(state)) && members.0.iter().all(is_known))
}

/// Returns whether `state` is a stack of components, as in Jovo v4.
fn is_stack(state: Option<&RawValue>) -> bool {
    let components = raw::elements(state);
    let is_component =
        |component: &&RawValue| raw::object(Some(component)).get("component").is_some();
    !components.is_empty() && components.iter().all(is_component)
}

/// Shows how much the session holds, not its contents.
impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("is_envelope", &self.is_envelope())
            .field("keys", &self.data.values().len())
            .field("has_state", &self.state.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn came(session: &str) -> ClientSession {
        let session: &RawValue = serde_json::from_str(session).expect(session);
        session.into()
    }

    #[test]
    fn jovos_session_is_told_from_plain_attributes() {
        for envelope in [
            json!({ "data": { "lives": 3 }, "state": [{ "component": "Game" }] }),
            json!({ "state": [{ "component": "Game" }] }),
            json!({ "data": { "lives": 3 }, "createdAt": "t" }),
            json!({ "data": {}, "updatedAt": "t" }),
            json!({ "id": "s", "data": {}, "isNew": true, "createdAt": "t", "updatedAt": "t" }),
            json!({ "id": "s", "data": {}, "isNew": true, "_GOOGLE_ASSISTANT_REPROMPTS_": {} }),
        ] {
            assert!(came(&envelope.to_string()).is_envelope(), "{envelope}");
        }
        for plain in [
            r#"{}"#,
            r#"{"lives":3}"#,
            r#"{"data":{}}"#,
            r#"{"data":{"score":1}}"#,
            r#"{"state":"CONFIRM"}"#,
            r#"{"state":["CONFIRM"]}"#,
            r#"{"state":[]}"#,
            r#"{"state":{"component":"Game"}}"#,
            r#"{"data":{"score":1},"state":"CONFIRM"}"#,
            r#"{"data":{"score":1.0},"state":[{"step":1}]}"#,
            r#"{"data":"text","state":"Game","isNew":true}"#,
            r#"{"data":{"a":1},"lives":3}"#,
            r#"{"state":[{"component":"Game"}],"lives":3}"#,
            r#"{"state":"Game","_JOVO_STATE_":"Quiz"}"#,
            r#"{"id":"s"}"#,
            r#"{"id":"s","data":{"score":1}}"#,
        ] {
            let session = came(plain);
            assert!(!session.is_envelope(), "{plain}");
            assert_eq!(session.as_it_came().get(), plain);
        }
    }

    #[test]
    fn an_empty_state_is_none_and_unknown_members_stay() {
        for state in ["[]", "[ ]", "null"] {
            let session = came(&format!(r#"{{"data":{{}},"state":{state},"isNew":false}}"#));
            assert_eq!(session.state(), None);
            assert!(!session.has_something());
        }
        let session = came(r#"{"data":{},"updatedAt":"t","mine":1e400}"#);
        assert!(session.data().is_empty());
        assert_eq!(session.as_it_came().get(), r#"{"data":{},"isNew":false,"mine":1e400}"#);
    }

    #[test]
    fn a_state_that_cannot_be_read_goes_back_until_another_is_set() {
        for text in [
            r#"{"a":1,"_JOVO_STATE_":"\ud83d"}"#,
            r#"{"data":{"a":1},"state":"\ud83d","isNew":false}"#,
        ] {
            let mut session = came(text);
            assert_eq!(session.state(), None);
            assert!(session.has_something());
            assert_eq!(session.as_it_came().get(), text);
            session.set_state(Some(json!("Game")));
            assert_eq!(session.as_it_came().get(), text.replace(r"\ud83d", "Game"));
            session.set_state(None);
            assert!(!session.as_it_came().get().contains("Game"));
        }
    }
}
