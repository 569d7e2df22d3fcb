//! Adding values to a reply while leaving the rest byte for byte as it is.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::document::{child, names};
use super::kept::quoted;
use super::raw::{self, is_empty, replaced};
use super::same::same;

/// A reply as the handler wrote it, a JSON object, to which values can be added.
///
/// The rest stays byte for byte as it is: order, spacing, the spelling of numbers, unknown members.
///
/// ```
/// use serde_json::json;
/// use tower_persistence::platform::Reply;
///
/// let mut reply = Reply::parse(br#"{ "version": "1.0", "price": 1.50 }"#).expect("a JSON object");
/// reply.put("/session/step", &json!(2));
/// assert_eq!(reply.text(), r#"{ "version": "1.0", "price": 1.50,"session":{"step":2} }"#);
/// ```
pub struct Reply {
    text: String,
    is_blocked: bool,
}

impl Reply {
    /// Parses the reply in `bytes`; returns `None` if they are not a JSON object.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let object: &RawValue = serde_json::from_str(text).ok()?;
        object.get().starts_with('{').then(|| Self { text: text.to_owned(), is_blocked: false })
    }

    /// Returns the value under `pointer` ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), such
    /// as `/response/shouldEndSession`.
    ///
    /// ```
    /// use tower_persistence::platform::Reply;
    ///
    /// let reply = Reply::parse(br#"{"response":{"shouldEndSession":true}}"#).expect("a JSON
    /// object");
    /// let ends = reply.get("/response/shouldEndSession").expect("a member");
    /// assert_eq!(ends.get(), "true");
    /// ```
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&RawValue> {
        names(pointer)?.try_fold(self.root()?, |value, name| child(value, &name))
    }

    /// Puts `value` under `pointer`, unless a value is already there; `null` and an empty object or
    /// array do not count as one. Missing objects on the way are created. Returns whether the value
    /// was put.
    ///
    /// ```
    /// use tower_persistence::platform::Reply;
    ///
    /// let mut reply = Reply::parse(br#"{"user":{}}"#).expect("a JSON object");
    /// assert!(reply.put("/user/params/id", "user-1"));
    /// assert!(!reply.put("/user/params/id", "user-2"), "the first one stays");
    /// assert_eq!(reply.text(), r#"{"user":{"params":{"id":"user-1"}}}"#);
    /// ```
    pub fn put(&mut self, pointer: &str, value: &(impl Serialize + ?Sized)) -> bool {
        self.put_over(pointer, None, value)
    }

    /// Puts `value` under `pointer` as [`put`](Self::put) does, and also replaces a copy of `came`,
    /// the request's value in that place. SDKs copy the request's attributes into every reply, so a
    /// copy is not the handler's choice. Spacing, order of members and escapes may differ. Returns
    /// whether the value was put.
    ///
    /// ```
    /// use tower_persistence::platform::{Document, Reply};
    ///
    /// let request = Document::parse(br#"{"session":{"step":1,"lang":"en"}}"#).expect("JSON");
    /// let came = request.get("session");
    ///
    /// let mut reply = Reply::parse(br#"{"session":{"lang":"en","step":1.0}}"#).expect("JSON");
    /// assert!(reply.put_over("/session", came, &["other"]));
    ///
    /// let mut reply = Reply::parse(br#"{"session":{"lang":"en","step":7}}"#).expect("JSON");
    /// assert!(!reply.put_over("/session", came, &["other"]), "the handler's own value stays");
    /// ```
    pub fn put_over(
        &mut self,
        pointer: &str,
        came: Option<&RawValue>,
        value: &(impl Serialize + ?Sized),
    ) -> bool {
        self.change(pointer, |old| {
            is_nothing_or(old, came).then(|| serde_json::to_string(value).ok())?
        })
    }

    /// Returns whether `pointer` holds no value other than a copy of `came`.
    pub(super) fn is_free(&self, pointer: &str, came: Option<&RawValue>) -> bool {
        is_nothing_or(self.get(pointer), came)
    }

    /// Appends `value` to the array under `pointer`, and creates the array if there is none.
    /// Returns whether it was added: a value of another type is left alone.
    ///
    /// ```
    /// use tower_persistence::platform::Reply;
    ///
    /// let mut reply = Reply::parse(br#"{"contexts":["a"],"text":"hi"}"#).expect("a JSON object");
    /// assert!(reply.push("/contexts", "b"));
    /// assert!(!reply.push("/text", "b"));
    /// assert_eq!(reply.text(), r#"{"contexts":["a","b"],"text":"hi"}"#);
    /// ```
    pub fn push(&mut self, pointer: &str, value: &(impl Serialize + ?Sized)) -> bool {
        self.change(pointer, |old| {
            let value = serde_json::to_string(value).ok()?;
            match old {
                Some(array) if array.get().starts_with('[') => Some(with_last(array.get(), &value)),
                old => is_empty(old).then(|| format!("[{value}]")),
            }
        })
    }

    /// Removes the elements for which `keeps` returns `false` from the array under `pointer`.
    pub(super) fn retain(&mut self, pointer: &str, keeps: impl Fn(&RawValue) -> bool) {
        self.change(pointer, |old| {
            let all = raw::elements(old);
            let kept: Vec<_> =
                all.iter().filter(|element| keeps(element)).map(|element| element.get()).collect();
            (kept.len() < all.len()).then(|| format!("[{}]", kept.join(",")))
        });
    }

    /// Marks the session as not writable, because a value that cannot be read stands in its place.
    pub(super) fn block(&mut self) {
        self.is_blocked = true;
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Returns the reply in its current state.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn root(&self) -> Option<&RawValue> {
        serde_json::from_str(&self.text).ok()
    }

    /// Replaces the text of the value under `pointer` with the text that `new` makes of it.
    fn change(
        &mut self,
        pointer: &str,
        new: impl FnOnce(Option<&RawValue>) -> Option<String>,
    ) -> bool {
        let changed = self.root().and_then(|root| {
            let names: Vec<_> = names(pointer)?.collect();
            let text = changed(root, &names, new)?;
            Some(replaced(&self.text, root, &text))
        });
        let is_changed = changed.is_some();
        if let Some(text) = changed {
            self.text = text;
        }
        is_changed
    }
}

fn is_nothing_or(old: Option<&RawValue>, came: Option<&RawValue>) -> bool {
    is_empty(old) || old.zip(came).is_some_and(|(old, came)| same(old, came))
}

/// Returns the text of `value` with the value at `names` changed; `None` if the names lead nowhere.
fn changed(
    value: &RawValue,
    names: &[Cow<'_, str>],
    new: impl FnOnce(Option<&RawValue>) -> Option<String>,
) -> Option<String> {
    let Some((name, rest)) = names.split_first() else { return new(Some(value)) };
    if is_empty(Some(value)) && !value.get().starts_with('{') {
        return Some(nested(names, &new(None)?));
    }
    if !value.get().starts_with('{') {
        return None;
    }
    match raw::object(Some(value)).get(name) {
        Some(member) => Some(replaced(value.get(), member, &changed(member, rest, new)?)),
        None => {
            let member = format!("{}:{}", quoted(name), nested(rest, &new(None)?));
            Some(with_last(value.get(), &member))
        }
    }
}

/// Returns `value` nested in objects of one member each.
fn nested(names: &[Cow<'_, str>], value: &str) -> String {
    names.iter().rev().fold(value.to_owned(), |inner, name| format!("{{{}:{inner}}}", quoted(name)))
}

/// Returns the object or array `text` with `last` appended.
fn with_last(text: &str, last: &str) -> String {
    let (inside, close) = text.split_at(text.len() - 1);
    let end = inside.trim_ascii_end().len();
    let (inside, space) = inside.split_at(end);
    // Only the opening bracket stands in front of it.
    let comma = if inside.len() == 1 { "" } else { "," };
    [inside, comma, last, space, close].concat()
}

/// Shows the length of the reply, not its contents.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("bytes", &self.text.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn after(text: &str, change: impl FnOnce(&mut Reply) -> bool) -> Option<String> {
        let mut reply = Reply::parse(text.as_bytes()).expect("an object");
        change(&mut reply).then(|| reply.into_text())
    }

    #[test]
    fn what_is_put_comes_last_or_in_the_place_of_nothing() {
        for (text, pointer, expected) in [
            ("{}", "/a", Some(r#"{"a":1}"#)),
            (" {\n} ", "/a", Some(" {\"a\":1\n} ")),
            (r#"{"b":[ ]}"#, "/a/b", Some(r#"{"b":[ ],"a":{"b":1}}"#)),
            (r#"{"a":null,"b":2}"#, "/a", Some(r#"{"a":1,"b":2}"#)),
            (r#"{"a":{ },"b":2}"#, "/a", Some(r#"{"a":1,"b":2}"#)),
            (r#"{"a":[]}"#, "/a/b/c", Some(r#"{"a":{"b":{"c":1}}}"#)),
            (r#"{"a": {"c":3 } }"#, "/a/b", Some(r#"{"a": {"c":3,"b":1 } }"#)),
            (r#"{"\u0061":{"c":3}}"#, "/a/b", Some(r#"{"\u0061":{"c":3,"b":1}}"#)),
            (r#"{"a":{"x":1},"a":{"c":3}}"#, "/a/b", Some(r#"{"a":{"x":1},"a":{"c":3,"b":1}}"#)),
            ("{}", "/a~1b/\"", Some(r#"{"a/b":{"\"":1}}"#)),
            (r#"{"a":0}"#, "/a", None),
            (r#"{"a":""}"#, "/a", None),
            (r#"{"a":{"b":2}}"#, "/a", None),
            (r#"{"a":7}"#, "/a/b", None),
            (r#"{"a":[1]}"#, "/a/0/b", None),
            ("{}", "", None),
            ("{}", "a", None),
        ] {
            let put = after(text, |reply| reply.put(pointer, &json!(1)));
            assert_eq!(put.as_deref(), expected, "{text} {pointer}");
        }
    }

    #[test]
    fn what_is_pushed_comes_last_in_the_array() {
        for (text, expected) in [
            ("{}", Some(r#"{"a":[1]}"#)),
            (r#"{"a":null}"#, Some(r#"{"a":[1]}"#)),
            (r#"{"a":[ ]}"#, Some(r#"{"a":[1 ]}"#)),
            (r#"{"a":[1.50, {} ]}"#, Some(r#"{"a":[1.50, {},1 ]}"#)),
            (r#"{"a":{}}"#, Some(r#"{"a":[1]}"#)),
            (r#"{"a":{"b":1}}"#, None),
            (r#"{"a":"text"}"#, None),
        ] {
            let pushed = after(text, |reply| reply.push("/a", &json!(1)));
            assert_eq!(pushed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_reply_is_an_object() {
        for text in ["", "[]", "7", "null", "{", "{}x", r#""{}""#, "\u{feff}{}"] {
            assert!(Reply::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Reply::parse(b"{\"a\":\"\xff\"}").is_none());
    }

    proptest! {
        /// Whatever there is stays to the last byte: without what was put in, it is the old text.
        #[test]
        fn the_rest_stays_as_it_is(
            members in prop::collection::vec(("[a-c]", "(1\\.50|1e2|\"\\\\u0041\"|\\{ \"x\":\\[1 \\] \\}|\\[\\]|null)", "[ \n]{0,2}"), 0..5),
            pointer in "/[a-d](/[a-c]){0,2}",
        ) {
            let members: Vec<_> =
                members.iter().map(|(name, value, space)| format!("{space}\"{name}\" :{value}{space}")).collect();
            let text = format!("{{{}}}", members.join(","));
            let put = after(&text, |reply| reply.put(&pointer, &json!("put in")));
            let reply = Reply::parse(put.as_ref().unwrap_or(&text).as_bytes()).expect("still an object");
            if let Some(put) = &put {
                prop_assert_eq!(reply.get(&pointer).map(RawValue::get), Some("\"put in\""));
                let same = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
                let reverse = |text: &str| text.chars().rev().collect::<String>();
                let before = same(&text, put);
                let behind = same(&reverse(&text), &reverse(put)).min(text.len() - before);
                let lost = &text[before..text.len() - behind];
                prop_assert!(["", "null", "[]", "{}"].contains(&lost.trim()), "{:?} is gone from {:?} in {:?}", lost, text, put);
            }
        }
    }
}
