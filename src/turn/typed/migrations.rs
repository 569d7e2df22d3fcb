//! The migrations between the versions of a user's data.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{BoxError, Error, Kind};

/// The steps that bring older forms of a user's data to the present one, version by version: see
/// [`Schema`](super::Schema).
///
/// ```
/// use tower_persistence::Migrations;
///
/// let migrations = Migrations::new()
///     // Version 1 calls it `drink`, which was `beverage` before.
///     .add(1, |mut data| {
///         if let Some(data) = data.as_object_mut()
///             && let Some(drink) = data.remove("beverage")
///         {
///             data.insert("drink".to_owned(), drink);
///         }
///         data
///     })
///     // Version 2 has a number instead of a text. A text without a number is an error.
///     .add(2, |mut data| {
///         if let Some(cups) = data["cups"].as_str() {
///             data["cups"] = cups.parse::<u32>()?.into();
///         }
///         Ok(data)
///     });
/// ```
#[derive(Default)]
pub struct Migrations {
    steps: Vec<(u32, Box<Step>)>,
    quarantines: bool,
}

type Step = dyn Fn(Value) -> Option<Value>;

impl Migrations {
    /// Makes a list without migrations: the present form is version 0, that of data without a
    /// version.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tower_persistence::{Migrations, Schema};
    ///
    /// #[derive(Default, Deserialize, Serialize)]
    /// struct Player {
    ///     score: u32,
    /// }
    ///
    /// impl Schema for Player {
    ///     fn migrations() -> Migrations {
    ///         Migrations::new()
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the step that brings data of version `version - 1` to `version`.
    ///
    /// The versions must be 1, 2, 3 and so on. Otherwise every access to the data is an error that
    /// [`is_configuration`](Error::is_configuration), even for a new user.
    ///
    /// `migrate` gets all of the user's data as a JSON object, including keys that the type does
    /// not know. Change it rather than make a new one, or those keys are lost with the next write.
    /// It returns the data, or a `Result` of it, so that `?` works on any error. Such an error is
    /// dropped, since it may quote data; the error of the read says which migration failed.
    ///
    /// Data without a version is of version 0, even if only [`User`](crate::User) has written to
    /// it, so a migration must not rely on any key.
    ///
    /// ```
    /// use tower_persistence::Migrations;
    ///
    /// let migrations = Migrations::new().add(1, |mut data| {
    ///     if data["name"].is_string() {
    ///         data["first_name"] = data["name"].clone();
    ///     }
    ///     data
    /// });
    /// ```
    #[must_use]
    pub fn add<M: Migrated>(
        mut self,
        version: u32,
        migrate: impl Fn(Value) -> M + 'static,
    ) -> Self {
        self.steps.push((version, Box::new(move |data| migrate(data).migrated())));
        self
    }

    /// Sets whether unreadable data is set aside, so that its user goes on with the default. By
    /// default (`false`) such data is an error.
    ///
    /// All of the user's data then moves into the array `user.quarantine`, beside `user.data`, as
    /// `{ "data": …, "at": … }`, where `at` is the time in RFC 3339. The move is stored with the
    /// turn, so not if the handler fails, and a warning without the data is logged. Only
    /// [`User::forget`](crate::User::forget) removes it, and
    /// [`export`](crate::PersistenceLayer::export) contains it. Jovo v4 drops it when it writes the
    /// same record.
    ///
    /// Data of a newer version is always an error and never set aside, because a release that is
    /// rolled back would take the data away from all users.
    ///
    /// ```
    /// use tower_persistence::Migrations;
    ///
    /// let migrations = Migrations::new().quarantine_unreadable(true);
    /// ```
    #[must_use]
    pub fn quarantine_unreadable(mut self, quarantine: bool) -> Self {
        self.quarantines = quarantine;
        self
    }

    pub(super) fn quarantines(&self) -> bool {
        self.quarantines
    }

    /// Returns the version of the present form.
    pub(super) fn version(&self) -> u32 {
        self.steps.last().map_or(0, |(version, _)| *version)
    }

    /// Checks that the versions are 1, 2, 3 and so on. `T` is the type for the error.
    pub(super) fn check<T>(&self) -> Result<(), Error> {
        let misplaced = self.steps.iter().zip(1..).find(|((version, _), place)| version != place);
        let Some(((version, _), place)) = misplaced else { return Ok(()) };
        let type_name = std::any::type_name::<T>();
        let message = format!(
            "the migrations of `{type_name}` are misnumbered, since {version} stands in place of \
             {place}: number them 1, 2, 3 and so on"
        );
        Err(Error::new(Kind::Configuration, message))
    }

    /// Brings data of version `from` to the present one.
    ///
    /// # Errors
    ///
    /// Returns the version of the failed migration.
    pub(super) fn run(
        &self,
        from: u32,
        data: Map<String, Value>,
    ) -> Result<Map<String, Value>, u32> {
        let due = self.steps.iter().filter(|(version, _)| *version > from);
        due.into_iter().try_fold(data, |data, (version, step)| match step(Value::Object(data)) {
            Some(Value::Object(data)) => Ok(data),
            _ => Err(*version),
        })
    }
}

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrations")
            .field("version", &self.version())
            .field("quarantine_unreadable", &self.quarantines)
            .finish_non_exhaustive()
    }
}

/// The return type of a migration: the data as a [`Value`], or `Result<Value, BoxError>`, so that
/// `?` works on any error.
///
/// ```
/// use serde_json::Value;
/// use tower_persistence::{BoxError, Migrations};
///
/// fn parse_cups(mut data: Value) -> Result<Value, BoxError> {
///     if let Some(cups) = data["cups"].as_str() {
///         data["cups"] = cups.parse::<u32>()?.into();
///     }
///     Ok(data)
/// }
/// let migrations = Migrations::new().add(1, parse_cups);
/// ```
#[diagnostic::on_unimplemented(
    message = "a migration returns `serde_json::Value` or `Result<serde_json::Value, BoxError>`",
    note = "`Ok(result?)` turns a `Result` with another error into that"
)]
pub trait Migrated: sealed::Sealed {}

impl Migrated for Value {}
impl Migrated for Result<Value, BoxError> {}

mod sealed {
    use super::{BoxError, Value};

    pub trait Sealed {
        fn migrated(self) -> Option<Value>;
    }

    impl Sealed for Value {
        fn migrated(self) -> Option<Value> {
            Some(self)
        }
    }

    impl Sealed for Result<Value, BoxError> {
        /// Drops the error, since it may quote data.
        fn migrated(self) -> Option<Value> {
            self.ok()
        }
    }
}
