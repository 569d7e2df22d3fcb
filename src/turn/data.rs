//! The data that `User` and `Session` give access to, and the methods that they share.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;
use crate::error::Kind;

pub(super) type Data = Map<String, Value>;

/// The value as a `T`. The reason why it is none is left out, since it may quote the value.
pub(super) fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, Error> {
    T::deserialize(value).map_err(|_| {
        let type_name = std::any::type_name::<T>();
        Error::decode(format!("{what} is stored, but not as `{type_name}`"))
    })
}

pub(super) fn read_key<T: DeserializeOwned>(data: &Data, key: &str) -> Result<Option<T>, Error> {
    match data.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(T::deserialize(Value::Null).ok()),
        Some(value) => read(value, &format!("`{key}`")).map(Some),
    }
}

pub(super) fn to_value(value: impl Serialize, what: &str) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|_| Error::encode(format!("{what} has no JSON form")))
}

/// Adds `by` to the number under `key`.
pub(super) fn increment(data: &mut Data, key: &str, by: i64) -> Result<i64, Error> {
    let not_a_number = || {
        Error::decode(format!(
            "`{key}` is stored, but not as a whole number from -2^63 to 2^63 - 1"
        ))
    };
    let current = number(data.get(key)).ok_or_else(not_a_number)?;
    let sum = current.checked_add(by).ok_or_else(|| {
        Error::new(
            Kind::Encode,
            format!("the sum under `{key}` would not be a whole number from -2^63 to 2^63 - 1"),
        )
    })?;
    data.insert(key.to_owned(), sum.into());
    Ok(sum)
}

/// The whole number that a value counts as, if it does; nothing counts as 0.
pub(super) fn number(value: Option<&Value>) -> Option<i64> {
    match value {
        None | Some(Value::Null) => Some(0),
        Some(value) => whole_number(value),
    }
}

/// JavaScript writes whole numbers as `1`, other languages also as `1.0`.
fn whole_number(value: &Value) -> Option<i64> {
    /// Beyond it not every whole number has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT);
    // The cast is exact: checked above.
    value.as_i64().or_else(|| float().map(|float| float as i64))
}

/// The methods of a handle that has data: `$read` and `$write` are its ways to them.
macro_rules! data_methods {
    ($whose:literal) => {
        /// The value under `key`, or `None` where there is none. A stored `null` counts as none unless `T` takes it.
        ///
        /// # Errors
        ///
        /// [`is_decode`](Error::is_decode) where data of another type is stored. It stays as it is.
        pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
            self.check_readable(Some(key))?;
            self.read_data(|data| data::read_key(data, key))
        }

        /// Stores `value` under `key`. JSON has neither NaN nor infinity: serde_json makes `null` of them.
        ///
        /// # Errors
        ///
        /// [`is_encode`](Error::is_encode) where `value` has no JSON form; otherwise as for every write:
        /// [`is_sealed`](Error::is_sealed) after the turn's end, [`is_not_stored`](Error::is_not_stored) where
        #[doc = concat!($whose, " data is not stored.")]
        pub fn set(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
            let value = data::to_value(value, "the value")?;
            self.write_data(|data, writes| {
                writes.to(key);
                data.insert(key.to_owned(), value);
                Ok(())
            })
        }

        /// Removes `key`. Where it is absent, nothing changes.
        ///
        /// # Errors
        ///
        /// As for every write: [`is_sealed`](Error::is_sealed) after the turn's end,
        /// [`is_not_stored`](Error::is_not_stored) where
        #[doc = concat!($whose, " data is not stored.")]
        pub fn remove(&self, key: &str) -> Result<(), Error> {
            self.write_data(|data, writes| {
                writes.to(key);
                data.shift_remove(key);
                Ok(())
            })
        }

        /// Adds `by`, which may be negative, to the whole number under `key`, and returns the sum. An absent key counts as 0.
        ///
        /// # Errors
        ///
        /// [`is_decode`](Error::is_decode) where something else than a whole number of 64 bits is stored,
        /// [`is_encode`](Error::is_encode) where the sum is none; otherwise as for every write: [`is_sealed`](Error::is_sealed)
        /// after the turn's end, [`is_not_stored`](Error::is_not_stored) where
        #[doc = concat!($whose, " data is not stored.")]
        pub fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
            self.check_readable(Some(key))?;
            self.write_data(|data, writes| {
                let sum = data::increment(data, key, by)?;
                writes.by(key, by);
                Ok(sum)
            })
        }

        #[doc = concat!("A copy of all of ", $whose, " data.")]
        #[must_use]
        pub fn data(&self) -> Map<String, Value> {
            self.read_data(Clone::clone)
        }

        #[doc = concat!("All of ", $whose, " data as a `T`.")]
        ///
        /// # Errors
        ///
        /// [`is_decode`](Error::is_decode) where the data is not a `T`. It stays as it is.
        pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
            self.check_readable(None)?;
            let data = self.data();
            data::read(&Value::Object(data), concat!($whose, " data"))
        }

        #[doc = concat!("Replaces all of ", $whose, " data, keys that are not in `data` included.")]
        ///
        /// # Errors
        ///
        /// [`is_encode`](Error::is_encode) where `data` is no JSON object; otherwise as for every write:
        /// [`is_sealed`](Error::is_sealed) after the turn's end, [`is_not_stored`](Error::is_not_stored) where
        #[doc = concat!($whose, " data is not stored.")]
        pub fn set_data(&self, data: &impl Serialize) -> Result<(), Error> {
            let Value::Object(new) = data::to_value(data, "the data")? else {
                return Err(Error::encode("the data is no JSON object"));
            };
            self.write_data(|data, writes| {
                writes.all(data, &new);
                *data = new;
                Ok(())
            })
        }

        #[doc = concat!("Changes ", $whose, " data in one step and returns what `change` returns.")]
        ///
        /// Other threads that use handles of this turn wait meanwhile. Inside `change` the handles are not to
        /// be used: what returns a `Result` fails there, and anything else returns what was there before. If
        /// `change` panics, nothing has changed.
        ///
        /// # Errors
        ///
        /// [`is_reentrant`](Error::is_reentrant) inside the closure of another `update`; otherwise as for
        /// every write: [`is_sealed`](Error::is_sealed) after the turn's end,
        /// [`is_not_stored`](Error::is_not_stored) where
        #[doc = concat!($whose, " data is not stored.")]
        pub fn update<T>(
            &self,
            change: impl FnOnce(&mut Map<String, Value>) -> T,
        ) -> Result<T, Error> {
            self.update_data(|data| Ok(change(data)))
        }
    };
}

pub(super) use data_methods;
