//! Reads and writes the data that `User` and `Session` give access to.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::state::{DataOf, Turn};
use super::writes::Writes;
use crate::error::{Error, Kind};

pub(super) type Data = Map<String, Value>;

/// Reads the value as a `T`. The error omits serde's reason, which may quote the value.
pub(super) fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, Error> {
    T::deserialize(value).map_err(|_| {
        let type_name = std::any::type_name::<T>();
        Error::decode(format!("{what} is stored, but not as `{type_name}`"))
    })
}

fn read_member<T: DeserializeOwned>(value: Option<&Value>, key: &str) -> Result<Option<T>, Error> {
    match value {
        None => Ok(None),
        // A stored `null` counts as absent unless `T` takes it.
        Some(Value::Null) => Ok(T::deserialize(Value::Null).ok()),
        Some(value) => read(value, &format!("`{key}`")).map(Some),
    }
}

pub(super) fn to_value(value: impl Serialize, what: &str) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|_| Error::encode(format!("{what} has no JSON form")))
}

/// Returns the sum of `by` and the number under `key`.
fn sum(current: Option<&Value>, key: &str, by: i64) -> Result<i64, Error> {
    let not_a_number = || {
        Error::decode(format!(
            "`{key}` is stored, but not as a whole number from -2^63 to 2^63 - 1"
        ))
    };
    let current = number(current).ok_or_else(not_a_number)?;
    current.checked_add(by).ok_or_else(|| {
        Error::new(
            Kind::Encode,
            format!("the sum under `{key}` would not be a whole number from -2^63 to 2^63 - 1"),
        )
    })
}

/// Returns the value as a whole number, if it is one. An absent value counts as 0.
pub(super) fn number(value: Option<&Value>) -> Option<i64> {
    match value {
        None | Some(Value::Null) => Some(0),
        Some(value) => whole_number(value),
    }
}

/// Returns a whole number written as `1`, as JavaScript does, or as `1.0`, as other languages do.
fn whole_number(value: &Value) -> Option<i64> {
    /// The limit beyond which a float no longer represents every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT);
    // The cast is exact, as checked above.
    value.as_i64().or_else(|| float().map(|float| float as i64))
}

/// The data that a handle gives access to.
pub(super) struct DataHandle<'a> {
    turn: &'a Turn,
    of: DataOf,
}

impl<'a> DataHandle<'a> {
    pub(super) fn new(turn: &'a Turn, of: DataOf) -> Self {
        Self { turn, of }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.check_readable(Some(key))?;
        let state = self.turn.state();
        let value = Turn::member(self.of, &state, key).filter(|_| self.is_on());
        read_member(value, key)
    }

    pub(super) fn set(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        let value = to_value(value, "the value")?;
        self.set_member(key, |_, writes| {
            writes.set(key);
            Ok((value, ()))
        })
    }

    pub(super) fn remove(&self, key: &str) -> Result<(), Error> {
        self.write(|data, writes| {
            writes.set(key);
            data.shift_remove(key);
            Ok(())
        })
    }

    pub(super) fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.check_readable(Some(key))?;
        self.set_member(key, |current, writes| {
            let sum = sum(current, key, by)?;
            writes.add(key, by);
            Ok((sum.into(), sum))
        })
    }

    pub(super) fn data(&self) -> Data {
        self.read(Clone::clone)
    }

    pub(super) fn data_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.check_readable(None)?;
        let what = match self.of {
            DataOf::User => "the user's data",
            DataOf::Session => "the session's data",
            DataOf::Conversation => "the conversation's data",
        };
        read(&Value::Object(self.data()), what)
    }

    pub(super) fn set_data(&self, data: &impl Serialize) -> Result<(), Error> {
        let Value::Object(new) = to_value(data, "the data")? else {
            return Err(Error::encode("the data is not a JSON object"));
        };
        self.write(|data, writes| {
            writes.set_changed(data, &new);
            *data = new;
            Ok(())
        })
    }

    pub(super) fn update<T>(
        &self,
        change: impl FnOnce(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_stored()?;
        self.turn.update_data(self.of, change)
    }

    fn read<T>(&self, read: impl FnOnce(&Data) -> T) -> T {
        let state = self.turn.state();
        match Turn::data(self.of, &state).filter(|_| self.is_on()) {
            Some(data) => read(data),
            None => read(&Data::new()),
        }
    }

    fn set_member<T>(
        &self,
        key: &str,
        make: impl FnOnce(Option<&Value>, &mut Writes) -> Result<(Value, T), Error>,
    ) -> Result<T, Error> {
        self.check_stored()?;
        self.turn.set_member(self.of, key, make)
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_stored()?;
        self.turn.write_data(self.of, write)
    }

    fn is_on(&self) -> bool {
        !matches!(self.of, DataOf::User) || self.turn.elements.user
    }

    fn check_stored(&self) -> Result<(), Error> {
        match self.of {
            DataOf::User if self.is_on() => Ok(()),
            DataOf::User => Err(Error::not_stored("the user's data", "StoredElements::user")),
            DataOf::Session => self.turn.state().session.check_stored(),
            DataOf::Conversation => Ok(()),
        }
    }

    fn check_readable(&self, key: Option<&str>) -> Result<(), Error> {
        let state = self.turn.state();
        self.turn.check_not_updating(&state)?;
        match self.of {
            DataOf::User | DataOf::Conversation => Ok(()),
            DataOf::Session => state.session.check_readable(key),
        }
    }
}
