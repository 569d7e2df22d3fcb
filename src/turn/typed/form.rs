//! A user's data in the form of a type: reads and migrates it, and writes it beside the keys that
//! the type does not know.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Migrations, Schema};
use crate::error::Error;
use crate::turn::data::{self, Data};

/// The key of the version. It is inside the data, since Jovo v4 drops fields beside the data.
const VERSION: &str = "_schemaVersion";

/// The user's data, brought to the version of `T`.
pub(super) struct Form<T> {
    pub(super) value: T,
    /// All keys but the version.
    data: Data,
}

/// The reason why data cannot be read as a `T`.
pub(super) enum Unreadable {
    /// A newer release wrote it, and can read it.
    Newer(Error),
    Broken(Error),
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Newer(error) | Unreadable::Broken(error) => error,
        }
    }
}

impl<T: Schema> Form<T> {
    /// Reads the data as a `T`, after the migrations that it needs.
    pub(super) fn read(migrations: &Migrations, mut data: Data) -> Result<Self, Unreadable> {
        let version = data.shift_remove(VERSION);
        let type_name = std::any::type_name::<T>();
        let known = migrations.version();
        let broken = |reason: &str| Unreadable::Broken(Error::decode(reason));
        let found = data::number(version.as_ref()).and_then(|found| u64::try_from(found).ok());
        let found = found.ok_or_else(|| {
            broken(&format!(
                "`{VERSION}` of the user's data is not a version (`{type_name}` is of version \
                 {known})"
            ))
        })?;
        let found = match u32::try_from(found) {
            Ok(found) if found <= known => found,
            _ => {
                return Err(Unreadable::Newer(Error::decode(format!(
                    "the user's data is of version {found}, which a newer release has written; \
                     `{type_name}` is of version {known}"
                ))));
            }
        };
        if data.is_empty() {
            return Ok(Self { value: T::default(), data });
        }
        let data = migrations.run(found, data).map_err(|failed| {
            broken(&format!(
                "the user's data is of version {found}, and the migration to version {failed} \
                 fails (`{type_name}` is of version {known})"
            ))
        })?;
        let value = value(&data).ok_or_else(|| {
            broken(&format!(
                "the user's data is of version {found}, but not a `{type_name}` of version {known}"
            ))
        })?;
        Ok(Self { value, data })
    }

    /// Changes the value, and returns the data to store in `version`, that of `T`.
    pub(super) fn update<R>(
        mut self,
        version: u32,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<(Data, T, R), Error> {
        let before = object(&self.value)?;
        let result = change(&mut self.value);
        let after = object(&self.value)?;
        if after.contains_key(VERSION) {
            let message = format!("`{VERSION}` is the key of the version: rename the field");
            return Err(Error::encode(message));
        }
        let mut data = self.data;
        data.retain(|key, _| after.contains_key(key) || !before.contains_key(key));
        let mut written = joined(&data, &after);
        if !is_read_back::<T>(&written, &after) {
            // Drops keys that the type reads but does not write, such as other names
            // (`#[serde(alias)]`): beside the new keys they would be read twice.
            data.retain(|key, value| {
                let key = Map::from_iter([(key.clone(), value.clone())]);
                is_read_back::<T>(&joined(&key, &after), &after)
            });
            written = joined(&data, &after);
        }
        if !is_read_back::<T>(&written, &after) {
            let type_name = std::any::type_name::<T>();
            return Err(Error::encode(format!(
                "this `{type_name}` could not be read again from its JSON form: check its serde \
                 attributes, and that no number is NaN"
            )));
        }
        Ok((with_version(written, version), self.value, result))
    }
}

/// Returns the data in the version of `T`, if it can be read as one.
pub(super) fn in_present_version<T: Schema>(data: &Data) -> Option<Data> {
    let migrations = T::migrations();
    let form = Form::<T>::read(&migrations, data.clone()).ok()?;
    // Empty data has no version of its own.
    Some(if data.is_empty() { form.data } else { with_version(form.data, migrations.version()) })
}

/// Puts the version in front of the data. Version 0 is not written.
pub(super) fn with_version(mut data: Data, version: u32) -> Data {
    if version > 0 {
        data.shift_insert(0, VERSION.to_owned(), version.into());
    }
    data
}

/// Returns whether both are of the same version.
pub(super) fn is_same_version(one: &Data, other: &Data) -> bool {
    data::number(one.get(VERSION)) == data::number(other.get(VERSION))
}

fn value<T: Schema>(data: &Data) -> Option<T> {
    T::deserialize(Value::Object(data.clone())).ok()
}

fn object(value: &impl Serialize) -> Result<Data, Error> {
    match data::to_value(value, "the data")? {
        Value::Object(data) => Ok(data),
        _ => Err(Error::encode("the data is not a JSON object")),
    }
}

/// Returns `data` with the members of `over`, which replace its own.
fn joined(data: &Data, over: &Data) -> Data {
    let mut joined = data.clone();
    joined.extend(over.clone());
    joined
}

/// Returns whether `written` reads as a `T` with exactly the keys of `after`.
fn is_read_back<T: Schema>(written: &Data, after: &Data) -> bool {
    let read = value::<T>(written).and_then(|value| object(&value).ok());
    read.is_some_and(|read| {
        read.len() == after.len() && read.keys().all(|key| after.contains_key(key))
    })
}
