use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::base::Base;
use super::source::{MOST_READ, Source};
use super::types::Type;
use super::{MOST_CHANGES, Path, Record, change};

const DATA: Path = &["user", "data"];

fn record() -> Record {
    let json = json!({ "user": { "data": { "visits": 1, "list": [1] } }, "updatedAt": "t" });
    serde_json::from_value(json).unwrap()
}

fn of_text(fields: &Map<String, Value>) -> Record {
    Record::of_text(serde_json::to_string(fields).unwrap(), 127).unwrap()
}

impl Source for Map<String, Value> {
    fn fields(&self) -> Self {
        self.clone()
    }

    fn find(&self, path: &[&str], name: &str, found: &mut dyn FnMut(usize, &dyn Fn() -> Value)) {
        if let Some(value) = change::object(self, path).and_then(|object| object.get(name)) {
            found(std::ptr::from_ref(value).addr(), &|| value.clone());
        }
    }

    fn is_object(&self, path: &[&str]) -> bool {
        change::object(self, path).is_some()
    }

    fn members(&self, path: &[&str]) -> Option<Box<dyn Iterator<Item = (&str, Type)> + '_>> {
        let members = change::object(self, path)?.iter();
        Some(Box::new(members.map(|(name, value)| (name.as_str(), Type::of(value)))))
    }
}

#[test]
fn a_change_beside_shared_fields_copies_none_of_them() {
    let loaded = record();
    let mut changed = loaded.clone();
    changed.set(DATA, "visits", 2.into());
    changed.set(&[], "updatedAt", "u".into());
    changed.set(DATA, "visits", 3.into());
    assert!(loaded.base.is(&changed.base));
    assert_eq!(changed.changes.len(), 2);
    assert_eq!(changed.member(DATA, "visits"), Some(&json!(3)));
    let text = serde_json::to_string(&changed).unwrap();
    assert_eq!(text, r#"{"user":{"data":{"visits":3,"list":[1]}},"updatedAt":"u"}"#);
    assert!(changed.whole.get().is_none());
    assert_eq!(serde_json::to_string(changed.fields()).unwrap(), text);
    assert_eq!(loaded, record());
    assert_ne!(loaded, changed);
}

#[test]
fn a_text_is_read_as_far_as_it_is_asked_for() {
    let loaded = of_text(record().fields());
    let Base::Text(text) = &loaded.base else { unreachable!() };
    let mut changed = loaded.clone();
    assert_eq!(changed.member(DATA, "visits"), Some(&json!(1)));
    changed.set(DATA, "visits", 2.into());
    changed.set(DATA, "new", "a".into());
    changed.set(&[], "createdAt", "u".into());
    changed.check().unwrap();
    let expected =
        r#"{"user":{"data":{"visits":2,"list":[1],"new":"a"}},"updatedAt":"t","createdAt":"u"}"#;
    assert_eq!(changed.to_text().unwrap(), expected);
    assert_eq!(loaded.to_text().unwrap(), serde_json::to_string(&record()).unwrap());
    assert_eq!(text.values_read(), 1);
    assert_eq!(serde_json::to_string(changed.fields()).unwrap(), expected);
    assert_eq!(loaded, record());
}

#[test]
fn a_source_is_read_as_far_as_it_is_asked_for() {
    let loaded = Record::of_source(Arc::new(record().fields().clone()));
    let Base::Source(source) = &loaded.base else { unreachable!() };
    let mut changed = loaded.clone();
    let visits = std::ptr::from_ref(changed.member(DATA, "visits").unwrap());
    changed.set(DATA, "visits", 2.into());
    changed.set(&[], "createdAt", "u".into());
    changed.check().unwrap();
    assert_eq!(changed.find_name(|name| name == "createdAt"), Some("createdAt"));
    assert_eq!(changed.find_name(|name| !["user", "updatedAt", "createdAt"].contains(&name)), None);
    for _ in 0..2 {
        assert_eq!(loaded.member(DATA, "none"), None);
        assert_eq!(loaded.member(&["user", "none"], "none"), None);
        assert_eq!(std::ptr::from_ref(loaded.member(DATA, "visits").unwrap()), visits);
    }
    assert!(source.is_read_in_parts());
    assert_eq!(changed.fields()["user"]["data"]["visits"], 2);
    assert_eq!(loaded, record());
}

#[test]
fn a_source_of_which_much_is_asked_is_read_whole() {
    let fields: Map<String, Value> =
        (0..2 * MOST_READ).map(|number| (number.to_string(), number.into())).collect();
    let record = Record::of_source(Arc::new(fields.clone()));
    let Base::Source(source) = &record.base else { unreachable!() };
    for (number, (name, value)) in fields.iter().enumerate() {
        assert_eq!(source.is_read_in_parts(), number <= MOST_READ);
        assert_eq!(record.member(&[], name), Some(value));
    }
}

#[test]
fn members_that_were_set_are_told_from_those_that_are_shared() {
    let loaded = record();
    let mut saved = loaded.clone();
    saved.set(DATA, "visits", 2.into());
    let mut changed = saved.clone();
    changed.set(&[], "updatedAt", "u".into());
    let of_both: Vec<(Path, &str)> = vec![(DATA, "visits"), (&[], "updatedAt")];
    assert_eq!(loaded.set_since(&loaded.clone()), Some(vec![]));
    assert_eq!(changed.set_since(&loaded), Some(of_both.clone()));
    assert_eq!(changed.set_since(&saved), Some(of_both));
    assert_eq!(loaded.set_since(&saved), Some(vec![(DATA, "visits")]));
    // A change around another one does not tell what has to be written.
    let mut around = loaded.clone();
    around.set(&["user"], "data", json!({}));
    assert_eq!(around.set_since(&saved), None);
    assert_eq!(saved.set_since(&around), None);
    // Several new ones in an object do not tell their order.
    saved.set(DATA, "a", 1.into());
    assert_eq!(saved.set_since(&loaded), Some(vec![(DATA, "visits"), (DATA, "a")]));
    saved.set(DATA, "b", 1.into());
    assert_eq!(saved.set_since(&loaded), None);
    // A removal copies the record.
    changed.object_mut(DATA).shift_remove("list");
    assert_eq!(changed.set_since(&loaded), None);
    assert_eq!(record().set_since(&loaded), None);
}

#[test]
fn fields_that_nobody_shares_are_changed_in_place() {
    let mut record = record();
    record.set(DATA, "visits", 2.into());
    assert!(record.changes.is_empty());
    assert_eq!(record.fields()["user"]["data"]["visits"], 2);
}

#[test]
fn a_record_is_copied_at_most_once() {
    let loaded = record();
    let mut changed = loaded.clone();
    changed.set(DATA, "visits", 2.into());
    let whole = std::ptr::from_ref(changed.fields());
    changed.set(DATA, "visits", 3.into());
    assert!(changed.changes.is_empty());
    assert_eq!(std::ptr::from_ref(changed.fields()), whole);
    assert_eq!(loaded, record());
}

#[test]
fn there_are_never_many_changes_beside_the_fields() {
    let loaded = record();
    let mut changed = loaded.clone();
    for number in 0..=MOST_CHANGES {
        assert_eq!(changed.changes.len(), number);
        changed.set(DATA, &number.to_string(), number.into());
    }
    assert!(changed.changes.is_empty());
    assert_eq!(changed.object(DATA).unwrap().len(), 2 + MOST_CHANGES + 1);
    assert_eq!(loaded, record());
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, &'static str, Value),
    Remove(usize, &'static str),
    Look,
    /// Goes on with a clone, while another one keeps the fields.
    Clone,
    /// As [`Clone`](Self::Clone), but nothing keeps them.
    Alone,
}

const PATHS: [Path; 5] = [&[], &["user"], DATA, &["session"], &["user", "data", "a"]];

const NAMES: [&str; 6] = ["user", "data", "session", "a", "b", "\n"];

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(NAMES.to_vec());
    let value = prop::sample::select(vec![json!(1), json!(null), json!({}), json!({ "a": 2 })]);
    prop_oneof![
        6 => (0..PATHS.len(), name.clone(), value).prop_map(|(at, n, v)| Step::Set(at, n, v)),
        1 => (0..PATHS.len(), name).prop_map(|(at, name)| Step::Remove(at, name)),
        1 => Just(Step::Look),
        2 => Just(Step::Clone),
        1 => Just(Step::Alone),
    ]
}

/// Returns the object under `path` as [`Record::object_mut`] does.
fn object<'a>(fields: &'a mut Map<String, Value>, path: &[&str]) -> &'a mut Map<String, Value> {
    path.iter().fold(fields, |fields, name| {
        let value = fields.entry(*name).or_insert(Value::Null);
        if !value.is_object() {
            *value = json!({});
        }
        value.as_object_mut().unwrap()
    })
}

proptest! {
    #[test]
    fn a_record_is_what_a_map_would_be(
        steps in prop::collection::vec(step(), 0..24),
        base in 0..3,
    ) {
        let mut fields = record().fields().clone();
        // Members that a text lists, further down than it does, and more than it does.
        fields["user"]["data"]["a"] = json!({ "a": 1, "\n": {} });
        fields.insert("session".into(), (0..70).map(|it| (it.to_string(), json!(it))).collect());
        let mut record = match base {
            0 => of_text(&fields),
            1 => Record::of_source(Arc::new(fields.clone())),
            _ => Record::new(fields.clone()),
        };
        let mut kept = vec![(record.clone(), fields.clone())];
        for step in steps {
            match step {
                Step::Set(at, name, value) => {
                    record.set(PATHS[at], name, value.clone());
                    object(&mut fields, PATHS[at]).insert(name.to_owned(), value);
                }
                Step::Remove(at, name) => {
                    record.object_mut(PATHS[at]).shift_remove(name);
                    object(&mut fields, PATHS[at]).shift_remove(name);
                }
                Step::Look => prop_assert_eq!(record.fields(), &fields),
                Step::Clone => kept.push((record.clone(), fields.clone())),
                Step::Alone => kept.clear(),
            }
            for name in NAMES {
                prop_assert_eq!(record.find_name(|it| it == name).is_some(), fields.contains_key(name));
            }
            for path in PATHS {
                for name in NAMES {
                    let around = path.iter().try_fold(&fields, |it, name| it.get(*name)?.as_object());
                    prop_assert_eq!(record.member(path, name), around.and_then(|it| it.get(name)));
                }
            }
            let text = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&fields).unwrap());
            prop_assert_eq!(&text, &record.to_text().unwrap());
            prop_assert_eq!(&text, &serde_json::to_string(record.clone().fields()).unwrap());
            for (other, its) in &kept {
                prop_assert_eq!(other == &record, its == &fields);
                prop_assert_eq!(&record == other, its == &fields);
            }
        }
        for (record, fields) in &kept {
            prop_assert_eq!(record.fields(), fields);
        }
    }
}
