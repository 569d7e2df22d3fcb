//! Any sequence of operations on a handle stores the same as on a plain map.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tower_persistence::{Error, PersistenceLayer, User};

use crate::common::*;

#[derive(Clone, Debug)]
enum Step {
    Set(String, Value),
    Remove(String),
    Increment(String, i64),
    Replace(Map<String, Value>),
    Rename(String, String),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abc]".prop_map(String::from),
        1 => prop::sample::select(vec!["", "a.b", "$set", "id", "\u{1f600}", "a\"b\n"]).prop_map(String::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        prop::sample::select(vec![
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1.5),
            json!(2.0)
        ]),
        ".{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((key(), value), 0..3).prop_map(|members| members.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Step::Set(key, value)),
        key().prop_map(Step::Remove),
        (key(), -2_i64..3).prop_map(|(key, by)| Step::Increment(key, by)),
        object(value()).prop_map(Step::Replace),
        (key(), key()).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

fn apply(user: &User, step: &Step) -> Result<(), Error> {
    match step.clone() {
        Step::Set(key, value) => user.set(&key, value),
        Step::Remove(key) => user.remove(&key),
        Step::Increment(key, by) => match user.increment(&key, by) {
            Err(error) if error.is_decode() || error.is_encode() => Ok(()),
            result => result.map(drop),
        },
        Step::Replace(data) => user.set_data(&data),
        Step::Rename(from, to) => user.update(|data| {
            if let Some(value) = data.shift_remove(&from) {
                data.insert(to, value);
            }
        }),
    }
}

fn apply_to_model(model: &mut Map<String, Value>, step: &Step) {
    match step.clone() {
        Step::Set(key, value) => drop(model.insert(key, value)),
        Step::Remove(key) => drop(model.shift_remove(&key)),
        Step::Increment(key, by) => {
            let number = match model.get(&key) {
                None | Some(Value::Null) => Some(0),
                Some(value) if *value == json!(2.0) => Some(2),
                Some(value) => value.as_i64(),
            };
            if let Some(sum) = number.and_then(|number| number.checked_add(by)) {
                model.insert(key, sum.into());
            }
        }
        Step::Replace(data) => *model = data,
        Step::Rename(from, to) => {
            if let Some(value) = model.shift_remove(&from) {
                model.insert(to, value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stored_data_equals_that_of_a_map(
        turns in prop::collection::vec(prop::collection::vec(step(), 0..6), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let layer = PersistenceLayer::new(TestDb::default());
            let mut model = Map::new();
            let mut writes = 0;
            for (number, steps) in turns.into_iter().enumerate() {
                let before = model.clone();
                steps.iter().for_each(|step| apply_to_model(&mut model, step));
                writes += usize::from(number == 0 || model != before);
                let app = sync_app(&layer, move |user, _, _| {
                    steps.iter().try_for_each(|step| apply(user, step))
                });
                send_json(&app, &alexa("user-1")).await.assert_ok();
                let stored = stored(&layer.database().items, "user-1").await.unwrap();
                // A different order of the same members is not a change.
                assert_eq!(stored["user"]["data"], Value::from(model.clone()));
                assert_eq!(layer.database().calls().saves, writes, "no change, no write");
            }
        });
    }
}
