use std::fmt;

use serde_json::{Map, Value};

use crate::error::{BoxError, Error, Kind};

/// How older forms of a user's data become the present one, version by version: see [`Schema`](super::Schema).
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
///     // Version 2 has a number where there was a text. What is neither is an error.
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
    /// None: data without a version is of the present form, version 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Brings data of version `version - 1` to `version`. The versions have to be 1, 2, 3 and so on, or whoever reads or writes
    /// such data gets an error that [`is_configuration`](Error::is_configuration): with the first request, also that of a new user.
    ///
    /// `migrate` gets all of the user's data, a JSON object, keys that the type does not know included. Change it rather than make a
    /// new one, or those keys are gone with the next write. It returns the data, or a `Result` of it, in which `?` works on any
    /// error. The error itself goes nowhere, since it may quote data: that of the whole only says which migration failed.
    ///
    /// Data without a version is of version 0. That is so, too, where only [`User`](crate::User) has written something, so a
    /// migration should do without keys that are not there.
    #[must_use]
    pub fn add<M: Migrated>(
        mut self,
        version: u32,
        migrate: impl Fn(Value) -> M + 'static,
    ) -> Self {
        self.steps.push((version, Box::new(move |data| migrate(data).migrated())));
        self
    }

    /// Whether data that cannot be read is set aside, so that its user can go on as a new one. Default: `false`, it is an error.
    ///
    /// All of the user's data then moves into the array `user.quarantine`, beside `user.data`, as `{ "data": …, "at": … }`;
    /// `at` is the time in RFC 3339. It is stored with the turn, and not if the handler fails; a warning is logged, without the
    /// data. Nothing of this crate reads or removes what is there but [`User::forget`](crate::User::forget);
    /// [`export`](crate::PersistenceLayer::export) contains it. Mind that Jovo v4 drops it when it writes the same item.
    ///
    /// Data of a newer version is never set aside: a release that is rolled back would take the data of all users away. That is
    /// an error in any case.
    #[must_use]
    pub fn quarantine_unreadable(mut self, quarantine: bool) -> Self {
        self.quarantines = quarantine;
        self
    }

    pub(super) fn quarantines(&self) -> bool {
        self.quarantines
    }

    /// The version of the present form.
    pub(super) fn version(&self) -> u32 {
        self.steps.last().map_or(0, |(version, _)| *version)
    }

    pub(super) fn check<T>(&self) -> Result<(), Error> {
        let misplaced = self.steps.iter().zip(1..).find(|((version, _), place)| version != place);
        let Some(((version, _), place)) = misplaced else { return Ok(()) };
        let type_name = std::any::type_name::<T>();
        let message = format!(
            "the migrations of `{type_name}` have to be those to version 1, 2, 3 and so on: \
             {version} stands where {place} has to"
        );
        Err(Error::new(Kind::Configuration, message))
    }

    /// Brings data of version `from` to the present one.
    ///
    /// # Errors
    ///
    /// The version to which it could not be brought.
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

/// What a migration returns: the data, or `Result<Value, BoxError>`, in which `?` works on any error.
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
        /// The error may quote data.
        fn migrated(self) -> Option<Value> {
            self.ok()
        }
    }
}
