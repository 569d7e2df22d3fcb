//! Finds the parts of a record that a save has to write, as deep as a store can name them.
//!
//! The deeper a change is named, the less is converted and sent, and the more of what other writers
//! have changed meanwhile beside it stays.

use serde_json::{Map, Value};

use crate::record::Record;

/// The deepest path of a change: `user.data.orders.today`.
const MAX_DEPTH: usize = 4;

/// The number of changes in one record beyond which its fields are written as a whole. Expressions
/// of DynamoDB are limited, and many small changes cost more than one large one.
const MAX_NESTED: usize = 24;

/// One part of a record that differs from the loaded one.
#[derive(Debug, PartialEq)]
pub(super) struct Change<'a> {
    /// The names that lead to the part, from the top-level field.
    pub(super) path: Vec<&'a str>,
    /// The loaded value, unless the part is new.
    pub(super) old: Option<&'a Value>,
    /// The value to write, unless the part is gone.
    pub(super) new: Option<&'a Value>,
}

impl<'a> Change<'a> {
    /// Returns the top-level field that holds the change.
    pub(super) fn field(&self) -> &'a str {
        self.path.first().copied().unwrap_or_default()
    }
}

/// The abilities of a store.
pub(super) trait Rules {
    /// Returns whether the store reads both values back as the same value.
    fn is_same(&self, old: &Value, new: &Value) -> bool;

    /// Returns whether members of this top-level field may be written one by one.
    fn may_enter(&self, field: &str) -> bool;

    /// Returns whether a path may hold this name.
    fn may_name(&self, name: &str) -> bool;

    /// Returns whether writing the changed members of `old` one by one makes `new` of it, their
    /// order included. Not asked where both have the same names in the same order.
    fn keeps_order(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> bool;
}

/// Lists the changes from the record `old` to the record `new`.
pub(super) fn changes<'a>(old: &'a Record, new: &'a Record, rules: &impl Rules) -> Vec<Change<'a>> {
    let list = |max_depth| {
        let mut search = Search { rules, max_depth, path: Vec::new(), found: Vec::new() };
        search.object(old.fields(), new.fields());
        search.found
    };
    let nested = changes_of_set(old, new, rules).unwrap_or_else(|| list(MAX_DEPTH));
    let is_nested = |change: &Change<'_>| change.path.len() > 1;
    match nested.len() > MAX_NESTED && nested.iter().any(is_nested) {
        true => list(1),
        false => nested,
    }
}

/// Lists the changes in the members that a turn has set in what was loaded, and looks at no others.
/// `None` if these alone do not tell how to write them.
fn changes_of_set<'a>(
    old: &'a Record,
    new: &'a Record,
    rules: &impl Rules,
) -> Option<Vec<Change<'a>>> {
    let mut set = new.set_since(old)?;
    // The parts of one field follow each other.
    set.sort_by_key(|(path, name)| path.first().copied().unwrap_or(name));
    let path = Vec::with_capacity(MAX_DEPTH);
    let mut search = Search { rules, max_depth: MAX_DEPTH, path, found: Vec::new() };
    for (path, name) in set {
        let may_enter = path.first().is_none_or(|field| rules.may_enter(field));
        search.path.clear();
        search.path.extend_from_slice(path);
        if !may_enter || !search.member(name, old.member(path, name), new.member(path, name)) {
            return None;
        }
    }
    Some(search.found)
}

struct Search<'a, 'r, R> {
    rules: &'r R,
    max_depth: usize,
    path: Vec<&'a str>,
    found: Vec<Change<'a>>,
}

impl<'a, R: Rules> Search<'a, '_, R> {
    /// Lists the changes inside an object. Returns `false` if it can only be written as a whole.
    fn object(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> bool {
        let is_top = self.path.is_empty();
        // Comparing the names in their order costs less than looking each of them up.
        let has_same_names = old.keys().eq(new.keys());
        if !is_top && !has_same_names && !self.rules.keeps_order(old, new) {
            return false;
        }
        // Most members stand where they stood, so most are found without a search.
        let mut next = old.iter();
        for (name, value) in new {
            let before = match next.next() {
                Some((same, before)) if same == name => Some(before),
                _ => old.get(name),
            };
            if !self.member(name, before, Some(value)) {
                return false;
            }
        }
        let is_gone = |(name, _): &(&'a String, _)| !has_same_names && !new.contains_key(*name);
        for (name, before) in old.iter().filter(is_gone) {
            if !self.member(name, Some(before), None) {
                return false;
            }
        }
        true
    }

    /// Lists the changes of a member. Returns `false` if no path can name it.
    fn member(&mut self, name: &'a str, old: Option<&'a Value>, new: Option<&'a Value>) -> bool {
        let is_top = self.path.is_empty();
        let is_named = self.rules.may_name(name);
        let may_enter = is_named
            && self.path.len() + 1 < self.max_depth
            && (!is_top || self.rules.may_enter(name));
        self.path.push(name);
        let is_listed = match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) if may_enter => {
                let before = self.found.len();
                let is_listed = self.object(old, new);
                if !is_listed {
                    self.found.truncate(before);
                }
                is_listed
            }
            _ => false,
        };
        let is_same = is_listed
            || matches!((old, new), (Some(old), Some(new)) if self.rules.is_same(old, new));
        if !is_same {
            self.found.push(Change { path: self.path.clone(), old, new });
        }
        self.path.pop();
        is_same || is_named || is_top
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Names without dots, and members in their order.
    struct Dots;

    impl Rules for Dots {
        fn is_same(&self, old: &Value, new: &Value) -> bool {
            old == new
        }

        fn may_enter(&self, field: &str) -> bool {
            field != "foreign"
        }

        fn may_name(&self, name: &str) -> bool {
            !name.contains('.')
        }

        fn keeps_order(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
            let (old, new) = (old.keys(), new.keys());
            old.zip(new).all(|(old, new)| old == new)
        }
    }

    fn listed(old: &Value, new: &Value) -> Vec<String> {
        let record = |fields: &Value| serde_json::from_value(fields.clone()).unwrap();
        let (old, new): (Record, Record) = (record(old), record(new));
        let text = |change: &Change<'_>| {
            let sign = match (change.old, change.new) {
                (None, _) => "+",
                (_, None) => "-",
                _ => "",
            };
            format!("{sign}{}", change.path.join("/"))
        };
        changes(&old, &new, &Dots).iter().map(text).collect()
    }

    #[test]
    fn a_change_is_named_as_deep_as_it_can_be() {
        let old =
            json!({ "user": { "data": { "a": 1, "b": { "c": { "d": { "e": 1 } } } } }, "x": 1 });
        let cases = [
            (json!({}), vec![]),
            (json!({ "/user/data/a": 2 }), vec!["user/data/a"]),
            (json!({ "/user/data/b/c/d/e": 2 }), vec!["user/data/b/c"]),
            (json!({ "/user/data/a": 2, "/x": [] }), vec!["user/data/a", "x"]),
            (json!({ "/user/data": 1 }), vec!["user/data"]),
            (json!({ "/user": null }), vec!["user"]),
        ];
        for (values, expected) in cases {
            let mut new = old.clone();
            for (pointer, value) in values.as_object().unwrap() {
                *new.pointer_mut(pointer).unwrap() = value.clone();
            }
            assert_eq!(listed(&old, &new), expected, "{values}");
        }
    }

    #[test]
    fn members_come_and_go() {
        let old = json!({ "user": { "data": { "a": 1, "b": 2 } }, "gone": {} });
        let new = json!({ "user": { "data": { "a": 1, "b": 2, "c": 3 } }, "new": {} });
        assert_eq!(listed(&old, &new), ["+user/data/c", "+new", "-gone"]);
        assert_eq!(listed(&new, &old), ["-user/data/c", "+gone", "-new"]);
    }

    #[test]
    fn an_object_is_written_whole_where_its_members_cannot_be_named() {
        let old = json!({ "user": { "data": { "a.b": { "c": 1 }, "d": 1 } }, "a.b": { "c": 1 } });
        let new = json!({ "user": { "data": { "a.b": { "c": 2 }, "d": 2 } }, "a.b": { "c": 2 } });
        assert_eq!(listed(&old, &new), ["user/data", "a.b"]);
        // The other members may still be.
        let new = json!({ "user": { "data": { "a.b": { "c": 1 }, "d": 2 } }, "a.b": { "c": 1 } });
        assert_eq!(listed(&old, &new), ["user/data/d"]);
        // Or where their order changes.
        let (old, new) = (
            json!({ "a": { "x": { "b": 1, "c": 2 } } }),
            json!({ "a": { "x": { "c": 2, "b": 3 } } }),
        );
        assert_eq!(listed(&old, &new), ["a/x"]);
        let new = json!({ "a": { "x": { "c": 2, "b": 1 } } });
        assert_eq!(listed(&old, &new), [""; 0]);
        // Or where the store does not allow it.
        let (old, new) = (json!({ "foreign": { "a": 1 } }), json!({ "foreign": { "a": 2 } }));
        assert_eq!(listed(&old, &new), ["foreign"]);
    }

    #[test]
    fn many_changes_are_few_fields() {
        let fields = |by: usize| -> Value {
            (0..=MAX_NESTED).map(|n| (format!("k{n}"), json!(n + by))).collect::<Map<_, _>>().into()
        };
        let old = json!({ "user": { "data": fields(0) }, "x": 1 });
        let new = json!({ "user": { "data": fields(1) }, "x": 1 });
        assert_eq!(listed(&old, &new), ["user"]);
    }

    /// Does what a store does with the changes: sets the parts in their places, or removes them.
    fn applied(old: &Map<String, Value>, changes: &[Change<'_>]) -> Map<String, Value> {
        let mut fields = old.clone();
        for change in changes {
            let (name, around) = change.path.split_last().unwrap();
            let object = around.iter().fold(&mut fields, |fields, name| {
                fields.get_mut(*name).unwrap().as_object_mut().unwrap()
            });
            match change.new {
                Some(new) => drop(object.insert((*name).to_owned(), new.clone())),
                None => drop(object.shift_remove(*name)),
            }
        }
        fields
    }

    fn sets() -> impl Strategy<Value = Vec<(crate::record::Path, &'static str, Value)>> {
        const PATHS: [crate::record::Path; 4] = [&[], &["user"], &["user", "data"], &["foreign"]];
        let name = prop::sample::select(vec!["user", "data", "a", "b", "c", "a.b", "foreign"]);
        let value = prop::sample::select(vec![
            json!(1),
            json!({}),
            json!({ "a": 1 }),
            json!({ "data": { "b": 2 } }),
            json!({ "a.b": { "a": 2 }, "c": { "a": [] } }),
        ]);
        prop::collection::vec((prop::sample::select(PATHS.to_vec()), name, value), 0..6)
    }

    proptest! {
        #[test]
        fn changes_make_the_new_record_of_the_old_one(
            first in sets(),
            then in sets(),
            goes_on in any::<bool>(),
        ) {
            let loaded = json!({
                "user": { "data": { "a": 1, "a.b": { "a": 1 }, "b": { "a": { "a": 1 } } } },
                "foreign": { "a": 1 },
            });
            let loaded: Record = serde_json::from_value(loaded).unwrap();
            let set = |record: &Record, sets: Vec<(_, _, _)>| {
                let mut record = record.clone();
                sets.into_iter().for_each(|(path, name, value)| record.set(path, name, value));
                record
            };
            let old = set(&loaded, first);
            let new = set(if goes_on { &old } else { &loaded }, then);
            let found = changes(&old, &new, &Dots);
            // The order of fields is left to the store, that of their members is not.
            let texts = |fields: &Map<String, Value>| -> BTreeMap<String, String> {
                fields.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
            };
            prop_assert_eq!(texts(&applied(old.fields(), &found)), texts(new.fields()));
        }
    }
}
