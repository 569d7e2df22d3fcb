//! The user's data as a type, its versions, and data that cannot be read.

mod form;
mod migrations;
mod state;

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::form::{Form, Unreadable, with_version};
pub use self::migrations::{Migrated, Migrations};
pub(super) use self::state::TypedState;
use super::User;
use super::data::Data;
use crate::error::Error;
use crate::observe;
use crate::timestamp;

/// The type of all of a user's data, and how older forms become it.
///
/// The type is serialized as a JSON object. Its [`Default`] is what a user has of whom no data is stored. Put
/// `#[serde(default)]` on it, so that a key that is not there is no error: it may be a new one, or only
/// [`User`](crate::User) may have written so far.
///
/// Its version is that of its last migration; without migrations it is 0. A struct that had one name, and now has two:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_persistence::{Error, Migrations, Schema, UserData};
///
/// #[derive(Default, Deserialize, Serialize)]
/// #[serde(default)]
/// struct Profile {
///     first_name: String,
///     last_name: String,
/// }
///
/// impl Schema for Profile {
///     fn migrations() -> Migrations {
///         Migrations::new().add(1, |mut data| {
///             if let Some(name) = data["name"].as_str().map(str::to_owned) {
///                 let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
///                 data["first_name"] = first.into();
///                 data["last_name"] = last.into();
///             }
///             data
///         })
///     }
/// }
/// # use tower::{Layer, Service, service_fn};
/// # use tower_persistence::{Expected, MemoryDb, PersistenceLayer, Database, Record, User};
/// # type Request = http::Request<http_body_util::Full<bytes::Bytes>>;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = MemoryDb::new();
/// # let old = serde_json::json!({ "user": { "data": { "name": "Anna Blume", "visits": 3 } } });
/// # db.save("user-1", &serde_json::from_value::<Record>(old)?, Expected::Absent).await?;
/// # let mut app = PersistenceLayer::new(db.clone()).layer(service_fn(|request: Request| async move {
/// #     let user = request.extensions().get::<User>().unwrap();
/// #     handler(UserData::from_user(user)?)?;
/// #     Ok::<_, Error>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
/// # }));
/// # let body = r#"{"version":"1.0","context":{"System":{"user":{"userId":"user-1"}}},"request":{"requestId":"1"}}"#;
/// # assert_eq!(app.call(http::Request::post("/").body(body.into())?).await?.status(), 200);
/// # let stored = serde_json::to_value(&db.load("user-1").await?.unwrap().record)?;
/// # assert_eq!(stored["user"]["data"], serde_json::json!({
/// #     "_schemaVersion": 1, "name": "Anna Blume", "visits": 3, "first_name": "Anna", "last_name": "Schwitters",
/// # }));
/// # Ok(()) }
///
/// // Stored is `{"name": "Anna Blume", "visits": 3}`.
/// fn handler(mut profile: UserData<Profile>) -> Result<(), Error> {
///     assert_eq!(profile.first_name, "Anna");
///     profile.update(|profile| profile.last_name = "Schwitters".to_owned())
///     // `{"_schemaVersion": 1, "name": "Anna Blume", "visits": 3, "first_name": "Anna", "last_name": "Schwitters"}`
/// }
/// ```
///
/// The version stands in the data, as `_schemaVersion`; the type does not see it. It is not written where it is 0. Whoever
/// replaces all data with [`User::set_data`](crate::User::set_data) takes the version away.
pub trait Schema: Serialize + DeserializeOwned + Default {
    /// How older forms become this one. Default: there are none.
    #[must_use]
    fn migrations() -> Migrations {
        Migrations::new()
    }
}

/// All of the user's data as a `T`.
///
/// With feature `axum` it is an extractor; elsewhere [`of`](Self::of) makes it of the [`User`]. Fields of `T` are read through it;
/// [`update`](Self::update) and [`set`](Self::set) write, to be stored with the turn.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_persistence::{Error, Schema, UserData};
///
/// #[derive(Default, Deserialize, Serialize)]
/// #[serde(default)]
/// struct Player {
///     score: u32,
///     best: u32,
/// }
///
/// impl Schema for Player {}
///
/// async fn handler(mut player: UserData<Player>) -> Result<String, Error> {
///     player.update(|player| {
///         player.score += 10;
///         player.best = player.best.max(player.score);
///     })?;
///     Ok(format!("{} points, your best is {}", player.score, player.best))
/// }
/// ```
///
/// # What is written
///
/// Who only reads writes nothing: older data is [migrated](Migrations) in memory. The first write stores it in the present form, with
/// its version. A write sets the keys that `T` is serialized to, removes those that it was serialized to before and is not any
/// more, and leaves all others: `user.increment("visits", 1)` beside it is fine. A key whose value is the same is not written, so two
/// processes that change different fields [merge](crate::OnConflict::Merge). What they have in different versions is migrated before
/// it is merged, and what could not be read afterwards is a conflict.
///
/// Use a migration to rename a field. `#[serde(alias = "…")]` works as well; the other name is gone with the next write.
///
/// # Other handles
///
/// `T` is read when this is made, and again by each write. What [`User`] or another `UserData` writes in between is not seen by
/// reading, but `update` changes what is there by then, and never puts an old value back.
///
/// # Data that cannot be read
///
/// It is an error that [`is_decode`](Error::is_decode), which names the versions and the type, but no data; with the extractor it
/// is a response with status 500, and logged. The data stays as it is. A handler that takes `Result<UserData<T>, Error>` can
/// answer in its own way. [`Migrations::quarantine_unreadable`] sets such data aside instead.
pub struct UserData<T> {
    user: User,
    value: T,
    is_quarantined: bool,
}

impl<T: Schema> UserData<T> {
    /// The data of `user`, or the default where there is none.
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the data is of a newer version than `T`, or cannot be read as a `T` and is not to be
    /// [set aside](Migrations::quarantine_unreadable); [`is_turn_ended`](Error::is_turn_ended) where it is to be set aside after the turn's
    /// end; [`is_configuration`](Error::is_configuration) where the migrations are not numbered 1, 2, 3 and so on.
    pub fn from_user(user: &User) -> Result<Self, Error> {
        let migrations = T::migrations();
        migrations.check::<T>()?;
        let (value, is_quarantined) = match Form::read(&migrations, user.data()) {
            Ok(form) => (form.value, false),
            Err(Unreadable::Broken(_)) if migrations.quarantines() => {
                quarantine(user, &migrations)?
            }
            Err(unreadable) => return Err(unreadable.into()),
        };
        user.0.state().typed.has_type::<T>();
        Ok(Self { user: user.clone(), value, is_quarantined })
    }

    /// Whether data could not be read and was [set aside](Migrations::quarantine_unreadable), so that this began as the default.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.is_quarantined
    }

    /// Puts `value` in the place of what is there, whatever other handles wrote to its keys. Use [`update`](Self::update) to change
    /// some of them.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    pub fn set(&mut self, value: T) -> Result<(), Error> {
        self.update(|current| *current = value)
    }

    /// Changes what is there by now, also through other handles, in one step, and returns what `change` returns.
    ///
    /// The handles of this turn are locked meanwhile: `change` must not use them, or it waits for itself.
    /// If it panics, nothing has changed.
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where the value is no JSON object, or could not be read again, as NaN;
    /// [`is_decode`](Error::is_decode) where another handle wrote what is no `T`; otherwise as for every write:
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn's end, [`is_element_disabled`](Error::is_element_disabled) where the user's data is not
    /// stored. Nothing has changed then.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        let migrations = T::migrations();
        let (value, result) = self.user.data_handle().update(|data| {
            let form = Form::read(&migrations, data.clone())?;
            let (changed, value, result) = form.update(migrations.version(), change)?;
            *data = changed;
            Ok((value, result))
        })?;
        self.value = value;
        Ok(result)
    }
}

/// Sets the user's data aside, unless another handle has done so or made it readable by now.
fn quarantine<T: Schema>(user: &User, migrations: &Migrations) -> Result<(T, bool), Error> {
    let turn = &user.0;
    let result = turn.write(|state| {
        let data = state.record.object(&["user", "data"]).cloned().unwrap_or_default();
        let error = match Form::read(migrations, data.clone()) {
            Ok(form) => return Ok((form.value, None)),
            Err(Unreadable::Newer(error)) => return Err(error),
            Err(Unreadable::Broken(error)) => error,
        };
        let instead = with_version(Data::new(), migrations.version());
        state.user_writes.all(&data, &instead);
        state.typed.set_aside(&mut state.record, instead, &timestamp::format(turn.began));
        Ok((T::default(), Some(error)))
    });
    let (value, set_aside) = result?;
    if let Some(error) = &set_aside {
        observe::set_aside(user.platform(), error);
    }
    Ok((value, set_aside.is_some()))
}

impl<T> Deref for UserData<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Shows no data.
impl<T> fmt::Debug for UserData<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserData")
            .field("type", &std::any::type_name::<T>())
            .field("is_quarantined", &self.is_quarantined)
            .finish_non_exhaustive()
    }
}
