//! The handle to the history, and its entries.

use std::fmt;
use std::iter;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::seal::Exchange;
use super::state::{State, Turn};
use super::{Session, User, data};
use crate::error::Error;
use crate::platform::Input;
use crate::record::Record;
use crate::stored_elements::HistoryElement;

/// The user's last requests, newest first.
///
/// It is stored where [`StoredElements::history`](crate::StoredElements::history) is on, and empty
/// elsewhere. The entry of this turn is added at its end.
///
/// Like [`User`](crate::User) it is in the request's extensions, and an extractor with feature
/// `axum`.
///
/// ```
/// use serde_json::json;
/// use tower_persistence::{Error, History};
///
/// async fn handler(history: History) -> Result<String, Error> {
///     let reply = match history.previous() {
///         Some(previous) => format!("As I said: {}", previous["output"][0]["message"]),
///         None => "Hello".to_owned(),
///     };
///     history.set_output(json!([{ "message": reply }]))?;
///     Ok(reply)
/// }
/// ```
#[derive(Clone)]
pub struct History(pub(crate) Arc<Turn>);

impl History {
    /// Returns a copy of the entries, newest first. Each holds the elements that were on when it
    /// was stored.
    ///
    /// ```
    /// # use tower_persistence::History;
    /// # fn example(history: &History) {
    /// let requests = history.items().len();
    /// # }
    /// ```
    #[must_use]
    pub fn items(&self) -> Vec<Value> {
        self.read(<[Value]>::to_vec)
    }

    /// Returns a copy of the newest entry, that of the user's previous request.
    ///
    /// ```
    /// # use tower_persistence::History;
    /// # fn example(history: &History) {
    /// let intent = history.previous().map(|entry| entry["nlu"]["intent"]["name"].clone());
    /// # }
    /// ```
    #[must_use]
    pub fn previous(&self) -> Option<Value> {
        self.read(|entries| entries.first().cloned())
    }

    /// Sets the `output` of this turn's entry, in the place of what was set before. It is not
    /// stored if the turn is answered with a 4xx. A turn without a request adds an entry only if an
    /// output is set.
    ///
    /// ```
    /// # use tower_persistence::{Error, History};
    /// # fn example(history: &History) -> Result<(), Error> {
    /// history.set_output(serde_json::json!([{ "message": "Hello" }]))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `output` has no JSON form,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the history, or its element
    /// `output`, is not stored, and [`is_reentrant`](Error::is_reentrant) inside the closure of
    /// an `update`.
    pub fn set_output(&self, output: impl Serialize) -> Result<(), Error> {
        let output = data::to_value(output, "the output")?;
        match &self.0.elements.history {
            None => return Err(Error::not_stored("the history", "StoredElements::history")),
            Some(history) if !history.output => {
                return Err(Error::not_stored("`output`", "HistoryElement::output"));
            }
            Some(_) => {}
        }
        self.0.write(|state| {
            state.output = Some(output);
            state.is_written |= self.0.event.without_request;
            Ok(())
        })
    }

    fn read<T>(&self, read: impl FnOnce(&[Value]) -> T) -> T {
        self.0.read(|record| match self.0.elements.history {
            Some(_) => read(entries(record)),
            None => read(&[]),
        })
    }
}

fn entries(record: &Record) -> &[Value] {
    match record.get(&["history", "items"]) {
        Some(Value::Array(entries)) => entries,
        _ => &[],
    }
}

/// An element of the app's own. `StoredElements` does not know the handles, so it holds the element
/// without this type.
type CustomElement = Box<dyn Fn(&User, &Session) -> Option<Value> + Send + Sync>;

impl HistoryElement {
    /// Adds an element of your own, made at the end of the turn; `None` leaves it out.
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_persistence::stored_elements::HistoryElement;
    ///
    /// let element = HistoryElement::new()
    ///     .custom("visits", |user, _session| user.get("visits").ok().flatten());
    /// ```
    #[must_use]
    pub fn custom(
        mut self,
        name: &str,
        element: impl Fn(&User, &Session) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        let element: CustomElement = Box::new(element);
        self.custom.push((name.into(), Arc::new(element)));
        self
    }
}

/// Evaluates the app's own elements.
pub(super) fn custom_elements(turn: &Arc<Turn>) -> Vec<(String, Value)> {
    let Some(history) = &turn.elements.history else { return Vec::new() };
    let (user, session) = (User(Arc::clone(turn)), Session(Arc::clone(turn)));
    let values = history.custom.iter().filter_map(|(name, element)| {
        let value = element.downcast_ref::<CustomElement>()?(&user, &session)?;
        Some((name.as_ref().to_owned(), value))
    });
    values.collect()
}

/// Adds this turn's entry in front and drops those beyond the history's size.
pub(super) fn add_entry(
    turn: &Turn,
    state: &mut State,
    exchange: Exchange,
    custom: Vec<(String, Value)>,
) {
    let Some(history) = &turn.elements.history else { return };
    let session_state = state.session.state(&state.record).cloned();
    let input = turn.event.input.as_deref();
    let said = |part: fn(&Input) -> &Option<Value>| input.and_then(|input| part(input).clone());
    let elements = [
        ("input", history.input, said(|input| &input.input)),
        ("nlu", history.nlu, said(|input| &input.nlu)),
        ("asr", history.asr, said(|input| &input.asr)),
        ("state", history.state, session_state),
        ("output", history.output, state.output.take()),
        ("request", history.request, exchange.request.map(|request| without_person(turn, request))),
        ("response", history.response, exchange.response),
    ];
    let mut entry = Map::new();
    for (name, on, value) in elements {
        if let Some(value) = value.filter(|_| on) {
            entry.insert(name.to_owned(), value);
        }
    }
    entry.extend(custom);
    if entry.is_empty() {
        return;
    }
    let entry = Value::Object(entry);
    put_in_front(&mut state.record, entry.clone(), history.size);
    state.history_entry = Some(entry);
}

/// Removes the id of the speaking person from the request, since the record belongs to the whole
/// household.
fn without_person(turn: &Turn, mut request: Value) -> Value {
    /// Removes `id` everywhere, even within other text and from names of members.
    fn remove(value: &mut Value, id: &str) {
        match value {
            Value::String(text) if text.contains(id) => *text = text.replace(id, ""),
            Value::Object(members) => {
                members.retain(|name, member| member != id && !name.contains(id));
                members.values_mut().for_each(|member| remove(member, id));
            }
            Value::Array(elements) => {
                elements.retain(|element| element != id);
                elements.iter_mut().for_each(|element| remove(element, id));
            }
            _ => {}
        }
    }
    if let Some(id) = turn.user().and_then(|user| user.person_id.as_deref()) {
        remove(&mut request, id);
    }
    request
}

/// Puts `entry` in front of the others, and drops those beyond `size`.
pub(super) fn put_in_front(record: &mut Record, entry: Value, size: usize) {
    let others = record.get(&["history", "items"]).and_then(Value::as_array);
    let others = others.into_iter().flatten().cloned();
    let all: Vec<Value> = iter::once(entry).chain(others).take(size).collect();
    record.set(&["history"], "items", all.into());
}

/// Shows the number of entries, but not their content.
impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("items", &self.read(<[_]>::len))
            .field("messages", &self.messages().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_comes_in_front_and_copies_nothing_else() {
        let fields = json!({ "user": { "data": {} }, "history": { "items": [1, 2], "x": 3 } });
        let loaded: Record = serde_json::from_value(fields).unwrap();
        let mut record = loaded.clone();
        put_in_front(&mut record, json!(0), 2);
        assert_eq!(record.set_since(&loaded).map(|set| set.len()), Some(1));
        assert_eq!(record.fields()["history"], json!({ "items": [0, 1], "x": 3 }));
        let mut first = Record::default();
        put_in_front(&mut first, json!(0), 2);
        assert_eq!(first.fields()["history"], json!({ "items": [0] }));
    }
}
