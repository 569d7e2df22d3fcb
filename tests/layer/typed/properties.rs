//! The values of a type survive a round trip, unknown keys are kept, and migrations have the same
//! result in one go or step by step.

use proptest::prelude::*;
use serde_json::Map;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Everything {
    text: String,
    number: i64,
    big: u64,
    float: f64,
    maybe: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    list: Vec<u8>,
    map: BTreeMap<String, bool>,
    pair: (char, Option<i8>),
}

impl Schema for Everything {
    fn migrations() -> Migrations {
        Migrations::new().add(1, |data| data)
    }
}

fn everything() -> impl Strategy<Value = Everything> {
    let float = prop::num::f64::NORMAL | prop::num::f64::ZERO;
    let map = prop::collection::btree_map(".{0,3}", any::<bool>(), 0..3);
    let list = prop::collection::vec(any::<u8>(), 0..3);
    let parts = (
        ".{0,5}",
        any::<i64>(),
        any::<u64>(),
        float,
        any::<Option<String>>(),
        list,
        map,
        any::<(char, Option<i8>)>(),
    );
    parts.prop_map(|(text, number, big, float, maybe, list, map, pair)| Everything {
        text,
        number,
        big,
        float,
        maybe,
        list,
        map,
        pair,
    })
}

/// Returns keys that no type here has.
fn others() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        ".{0,3}".prop_map(Value::from),
        Just(json!({ "a": [1] }))
    ];
    let key = prop::sample::select(vec!["", "visits", "_own", "a.b", "$set", "schemaVersion"]);
    prop::collection::vec((key.prop_map(String::from), value), 0..4)
        .prop_map(|members| members.into_iter().collect())
}

macro_rules! version {
    ($name:ident, $number:literal) => {
        #[derive(Default, Deserialize, Serialize)]
        #[serde(default)]
        struct $name {
            path: String,
        }
        impl Schema for $name {
            fn migrations() -> Migrations {
                (1..=$number).fold(Migrations::new(), |migrations, version| {
                    migrations.add(version, move |mut data| {
                        let path = data["path"].as_str().unwrap_or_default();
                        data["path"] = format!("{path}/{version}").into();
                        data[format!("by {version}")] = true.into();
                        data
                    })
                })
            }
        }
    };
}
version!(One, 1);
version!(Two, 2);
version!(Three, 3);
version!(Four, 4);

fn write<T: Schema>(user: &User) -> Result<(), Error> {
    UserData::<T>::from_user(user)?.update(|_| ())
}

type Handler = fn(&User) -> Result<(), Error>;

const VERSIONS: [Handler; 4] = [write::<One>, write::<Two>, write::<Three>, write::<Four>];

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_values_are_read_again_and_other_keys_stay(
        values in prop::collection::vec(everything(), 1..4), others in others(),
    ) {
        run(async {
            let layer = PersistenceLayer::new(MemoryDb::new());
            let mut before = Everything::default();
            for (number, value) in values.into_iter().enumerate() {
                let (others, written, expected) = (others.clone(), value.clone(), before.clone());
                turn(&layer, move |user| {
                    let mut data = UserData::<Everything>::from_user(user)?;
                    assert_eq!(*data, expected);
                    data.set(written.clone())?;
                    if number == 0 {
                        others.iter().try_for_each(|(key, value)| user.set(key, value))?;
                    }
                    assert_eq!(*UserData::<Everything>::from_user(user)?, written);
                    Ok(())
                })
                .await
                .assert_ok();
                before = value;
            }
            let mut data = data(&layer).await.as_object().unwrap().clone();
            assert_eq!(data.shift_remove("_schemaVersion"), Some(json!(1)));
            for key in json!(before).as_object().unwrap().keys() {
                data.shift_remove(key);
            }
            assert_eq!(data, others, "nothing but the type's own keys and the others");
        });
    }

    #[test]
    fn migrating_step_by_step_is_migrating_at_once(
        stops in prop::collection::vec(any::<bool>(), 3), others in others(), path in prop::option::of("[a-z]{0,3}"),
    ) {
        let mut before = others;
        before.insert("more".to_owned(), 1.into());
        before.extend(path.map(|path: String| ("path".to_owned(), path.into())));
        let migrated = |stops: Vec<bool>| {
            let before = before.clone();
            run(async move {
                let layer = with_data(before.into()).await;
                for (version, stop) in VERSIONS.into_iter().zip(stops) {
                    if stop {
                        turn(&layer, version).await.assert_ok();
                    }
                }
                data(&layer).await
            })
        };
        let at_once = migrated(vec![false, false, false, true]);
        prop_assert!(at_once["path"].as_str().unwrap().ends_with("/1/2/3/4"));
        let stops: Vec<bool> = stops.into_iter().chain([true]).collect();
        prop_assert_eq!(migrated(stops), at_once);
    }
}
