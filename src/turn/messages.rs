//! The messages of the conversation, oldest first: the memory of apps around a language model.

use std::collections::HashSet;
use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::data::to_value;
use super::history::History;
use super::state::{State, Turn};
use crate::error::{Error, Kind};
use crate::record::Record;
use crate::{length, timestamp};

/// A message of the conversation, kept by [`History::push_message`].
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The id of the message, a random UUID.
    pub id: String,
    /// The time when the message was added.
    pub created_at: SystemTime,
    /// The role of the author, as the app gave it, such as `user` or `assistant`.
    pub role: String,
    /// The content: text, or any other JSON.
    pub content: Value,
}

impl Message {
    /// Returns the length of the message in the record, in bytes of JSON.
    ///
    /// ```
    /// # use tower_persistence::{History, Message};
    /// # fn example(history: &History) {
    /// let last_4_kib = history.messages_within(4096, Message::bytes);
    /// # }
    /// ```
    #[must_use]
    pub fn bytes(&self) -> usize {
        length_of(&written(&self.id, self.created_at, &self.role, &self.content))
    }

    /// Reads a stored message. `None` for one that another program wrote in another form.
    fn read(stored: &Value) -> Option<Self> {
        let text = |name: &str| stored.get(name)?.as_str();
        Some(Self {
            id: text("id")?.to_owned(),
            created_at: created_at(stored)?,
            role: text("role")?.to_owned(),
            content: stored.get("content")?.clone(),
        })
    }
}

/// Shows neither role nor content.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// # Messages
///
/// The conversation as a list of messages, oldest first, which an app around a language model gives
/// to the model with each request. It is kept beside the [items](Self::items), needs no setting,
/// and is stored only if the app pushes something.
///
/// Two processes that push at the same time lose nothing: a merge joins the messages of both by
/// their ids and orders them by their times. A transcript of your own in the user's data, an array,
/// would be a conflict there. Messages and items together are kept within
/// [`history_budget`](crate::StoredElements::history_budget), 100 KiB; the oldest go first.
impl History {
    /// Adds a message at the end of the conversation, and returns its id. `content` is text, or any
    /// other JSON, such as the parts of a message or a tool call.
    ///
    /// ```
    /// use tower_persistence::{Error, History};
    ///
    /// async fn chat(history: History, text: String) -> Result<String, Error> {
    ///     history.push_message("user", &text)?;
    ///     let prompt = history.last_messages(20);
    ///     let answer = format!("I remember {} messages", prompt.len());
    ///     history.push_message("assistant", &answer)?;
    ///     Ok(answer)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `content` has no JSON form, or is longer than
    /// [`history_budget`](crate::StoredElements::history_budget),
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where messages are not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn push_message(&self, role: &str, content: impl Serialize) -> Result<String, Error> {
        let content = to_value(content, "the message's content")?;
        let elements = &self.0.elements;
        if !elements.messages {
            return Err(Error::not_stored("a message", "StoredElements::messages"));
        }
        let id = Uuid::new_v4().to_string();
        let message = written(&id, (self.0.clock)(), role, &content);
        let budget = elements.history_budget;
        if length_of(&message) > budget {
            let message = format!(
                "the message is longer than the {budget} bytes of the whole history: shorten it, or \
                 raise `StoredElements::history_budget`"
            );
            return Err(Error::new(Kind::Encode, message));
        }
        self.0.write_as_handle(|state| {
            list_mut(&mut state.record).push(message.clone());
            state.messages.push(message);
            Ok(())
        })?;
        Ok(id)
    }

    /// Returns all messages, oldest first, including those of this turn. Messages that another
    /// program wrote in another form are left out, and stay.
    ///
    /// ```
    /// # use tower_persistence::History;
    /// # fn example(history: &History) {
    /// for message in history.messages() {
    ///     println!("{} {}", message.role, message.content);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.last_messages(usize::MAX)
    }

    /// Returns the newest `count` messages, oldest first.
    ///
    /// ```
    /// # use tower_persistence::History;
    /// # fn example(history: &History) {
    /// let prompt = history.last_messages(20);
    /// # }
    /// ```
    #[must_use]
    pub fn last_messages(&self, count: usize) -> Vec<Message> {
        if !self.0.elements.messages {
            return Vec::new();
        }
        let mut newest_first: Vec<_> = self.0.read(|record| {
            list(record).iter().rev().filter_map(Message::read).take(count).collect()
        });
        newest_first.reverse();
        newest_first
    }

    /// Returns as many of the newest messages as `cost` lets into `budget`, oldest first: bytes
    /// with [`Message::bytes`], or tokens with a function of yours. The first message that does not
    /// fit ends it, so that nothing is missing in between.
    ///
    /// ```
    /// # use tower_persistence::History;
    /// # fn example(history: &History) {
    /// // About four characters make a token.
    /// let prompt = history.messages_within(8_000, |message| message.bytes() / 4);
    /// # }
    /// ```
    #[must_use]
    pub fn messages_within(
        &self,
        budget: usize,
        mut cost: impl FnMut(&Message) -> usize,
    ) -> Vec<Message> {
        // The app's closure may use the handles, so it does not run under the lock.
        let mut messages = self.messages();
        let mut left = Some(budget);
        let fitting = messages.iter().rev().take_while(|message| {
            left = left.and_then(|left| left.checked_sub(cost(message)));
            left.is_some()
        });
        let count = fitting.count();
        messages.split_off(messages.len() - count)
    }
}

fn written(id: &str, created_at: SystemTime, role: &str, content: &Value) -> Value {
    let created_at = timestamp::format(created_at);
    json!({ "id": id, "createdAt": created_at, "role": role, "content": content })
}

fn list(record: &Record) -> &[Value] {
    match record.get(&["history", "messages"]) {
        Some(Value::Array(messages)) => messages,
        _ => &[],
    }
}

fn list_mut(record: &mut Record) -> &mut Vec<Value> {
    let messages = record.object_mut(&["history"]).entry("messages").or_insert(Value::Null);
    if !messages.is_array() {
        *messages = Value::Array(Vec::new());
    }
    match messages {
        Value::Array(messages) => messages,
        _ => unreachable!("made an array above"),
    }
}

fn id(message: &Value) -> Option<&str> {
    message.get("id")?.as_str()
}

fn created_at(message: &Value) -> Option<SystemTime> {
    timestamp::parse(message.get("createdAt")?.as_str()?)
}

/// Merges the messages of this turn into `merged`, which has those of another process. Messages
/// that were there before both stay in front; the others are ordered by their times, and those of
/// each side keep their order.
pub(super) fn merge(turn: &Turn, state: &State, merged: &mut Record) {
    if state.messages.is_empty() {
        return;
    }
    let before: HashSet<_> = turn.loaded.record().map_or(&[][..], list).iter().map(id).collect();
    let theirs = list_mut(merged);
    let there: HashSet<_> = theirs.iter().filter_map(id).collect();
    let is_new = |message: &&Value| id(message).is_none_or(|id| !there.contains(id));
    let mut mine = state.messages.iter().filter(is_new).cloned().collect::<Vec<_>>();
    let known = theirs.iter().rposition(|message| before.contains(&id(message)));
    let new = theirs.split_off(known.map_or(0, |last| last + 1));
    mine.reverse();
    for message in new {
        while mine.last().is_some_and(|mine| created_at(mine) < created_at(&message)) {
            theirs.extend(mine.pop());
        }
        theirs.push(message);
    }
    mine.reverse();
    theirs.extend(mine);
}

/// Drops the oldest messages and items of the history until both fit into the budget, each time
/// from the longer of the two lists, so that neither displaces the other.
pub(super) fn trim(record: &mut Record, budget: usize) {
    let items = record.get(&["history", "items"]).and_then(Value::as_array);
    // Both with the oldest at the end.
    let mut items: Vec<_> = items.into_iter().flatten().map(length_of).collect();
    let mut messages: Vec<_> = list(record).iter().rev().map(length_of).collect();
    let (all_items, all_messages) = (items.len(), messages.len());
    let (mut of_items, mut of_messages) =
        (items.iter().sum::<usize>(), messages.iter().sum::<usize>());
    while of_items + of_messages > budget {
        match of_messages >= of_items {
            true => of_messages -= messages.pop().unwrap_or(of_messages),
            false => of_items -= items.pop().unwrap_or(of_items),
        }
    }
    if messages.len() < all_messages {
        list_mut(record).drain(..all_messages - messages.len());
    }
    if items.len() < all_items
        && let Some(Value::Array(stored)) = record.object_mut(&["history"]).get_mut("items")
    {
        stored.truncate(items.len());
    }
}

/// Returns the length of an element of a list, with the comma behind it.
fn length_of(value: &Value) -> usize {
    // Every value has a JSON form.
    length::of_json(value).map_or(usize::MAX, |length| length + 1)
}
