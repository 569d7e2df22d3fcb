//! The user's data as a type, its versions, and unreadable data.

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
use crate::{observe, timestamp};

/// A type that holds all of a user's data, and the migrations from its older forms.
///
/// The type is serialized as a JSON object. Its [`Default`] is the data of a user without stored
/// data. Put `#[serde(default)]` on it, so that a missing key is not an error: the key may be new,
/// or only [`User`](crate::User) may have written so far.
///
/// The version of the type is that of its last migration, and 0 without migrations. A struct that
/// had one name, and now has two:
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
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = MemoryDb::new();
/// # let old = serde_json::json!({ "user": { "data": { "name": "Anna Blume", "visits": 3 } } });
/// # db.save("user-1", &serde_json::from_value::<Record>(old)?, Expected::Absent).await?;
/// # let service = service_fn(|request: Request| async move {
/// #     let user = request.extensions().get::<User>().unwrap();
/// #     handler(UserData::from_user(user)?)?;
/// #     Ok::<_, Error>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
/// # });
/// # let mut app = PersistenceLayer::new(db.clone()).layer(service);
/// # let body = r#"{"version":"1.0","context":{"System":{"user":{"userId":"user-1"}}},
/// #     "request":{"requestId":"1"}}"#;
/// # assert_eq!(app.call(http::Request::post("/").body(body.into())?).await?.status(), 200);
/// # let stored = serde_json::to_value(&db.load("user-1").await?.unwrap().record)?;
/// # assert_eq!(stored["user"]["data"], serde_json::json!({
/// #     "_schemaVersion": 1, "name": "Anna Blume", "visits": 3,
/// #     "first_name": "Anna", "last_name": "Schwitters",
/// # }));
/// # Ok(()) }
///
/// // The record holds `{"name": "Anna Blume", "visits": 3}`.
/// fn handler(mut profile: UserData<Profile>) -> Result<(), Error> {
///     assert_eq!(profile.first_name, "Anna");
///     profile.update(|profile| profile.last_name = "Schwitters".to_owned())
///     // Now it holds `{"_schemaVersion": 1, "name": "Anna Blume", "visits": 3,
///     // "first_name": "Anna", "last_name": "Schwitters"}`.
/// }
/// ```
///
/// The version is in the data, as `_schemaVersion`, but not visible to the type. Version 0 is not
/// written. [`User::set_data`](crate::User::set_data) replaces all data, and so removes the
/// version.
pub trait Schema: Serialize + DeserializeOwned + Default {
    /// Returns the migrations that bring older forms to this one. By default there are none.
    #[must_use]
    fn migrations() -> Migrations {
        Migrations::new()
    }
}

/// All of the user's data as a `T`.
///
/// With feature `axum` it is an extractor; elsewhere [`from_user`](Self::from_user) makes it from
/// the [`User`]. It dereferences to `T` for reading; [`update`](Self::update) and
/// [`set`](Self::set) write changes, which are stored with the turn.
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
/// # Writes
///
/// Reading writes nothing: older data is [migrated](Migrations) in memory, and the first write
/// stores it in the present form, with its version. A write sets the keys of the serialized `T`,
/// removes keys that it had before the change, and leaves all others, so that
/// `user.increment("visits", 1)` works beside it. Unchanged values are not written, so the changes
/// of two processes to different fields [merge](crate::OnConflict::Merge). Data in different
/// versions is migrated before it is merged; a merge that would leave unreadable data is a
/// conflict.
///
/// Use a migration to rename a field. `#[serde(alias = "…")]` works as well, and drops the old name
/// with the next write.
///
/// # Other handles
///
/// `T` is read when `UserData` is made, and again by each write. Reading does not see the writes of
/// [`User`] or another `UserData` in between, but `update` starts from them, and never puts an old
/// value back.
///
/// # Unreadable data
///
/// Data that cannot be read as a `T` is an error that [`is_decode`](Error::is_decode). It names the
/// versions and the type, but no data. The extractor rejects with it, a response with status 500,
/// and logs it. The data stays as it is. A handler that takes `Result<UserData<T>, Error>` can
/// answer in its own way. [`Migrations::quarantine_unreadable`] sets such data aside instead.
pub struct UserData<T> {
    user: User,
    value: T,
    is_quarantined: bool,
}

impl<T: Schema> UserData<T> {
    /// Reads the data of `user`, or makes the default if there is none.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// use tower_persistence::{Error, Schema, User, UserData};
    ///
    /// # #[derive(Default, Deserialize, Serialize)]
    /// # #[serde(default)]
    /// # struct Player { score: u32 }
    /// # impl Schema for Player {}
    /// fn score(user: &User) -> Result<u32, Error> {
    ///     let player: UserData<Player> = UserData::from_user(user)?;
    ///     Ok(player.score)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) if the data is of a newer version than `T`, or cannot be
    /// read as a `T` and is not [set aside](Migrations::quarantine_unreadable);
    /// [`is_turn_ended`](Error::is_turn_ended) if it would be set aside after the turn has ended;
    /// [`is_configuration`](Error::is_configuration) if the migrations are not numbered 1, 2, 3 and
    /// so on.
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

    /// Returns whether unreadable data was [set aside](Migrations::quarantine_unreadable), so that
    /// the value began as the default.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tower_persistence::{Schema, UserData};
    /// # #[derive(Default, Deserialize, Serialize)]
    /// # #[serde(default)]
    /// # struct Player { score: u32 }
    /// # impl Schema for Player {}
    /// fn greeting(player: &UserData<Player>) -> &'static str {
    ///     if player.is_quarantined() { "Sorry, I lost your score" } else { "Welcome back" }
    /// }
    /// ```
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.is_quarantined
    }

    /// Replaces the value, even where other handles wrote to its keys. Use
    /// [`update`](Self::update) to change some of its fields.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tower_persistence::{Error, Schema, UserData};
    /// # #[derive(Default, Deserialize, Serialize)]
    /// # #[serde(default)]
    /// # struct Player { score: u32 }
    /// # impl Schema for Player {}
    /// fn start_over(player: &mut UserData<Player>) -> Result<(), Error> {
    ///     player.set(Player::default())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`update`](Self::update) does.
    pub fn set(&mut self, value: T) -> Result<(), Error> {
        self.update(|current| *current = value)
    }

    /// Changes the value in one step, starting from the writes of other handles, and returns the
    /// result of `change`.
    ///
    /// Other threads that use handles of this turn wait meanwhile. Inside `change`, methods of the
    /// handles that return a `Result` fail, and the others return what was there before. If
    /// `change` panics, nothing has changed.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tower_persistence::{Error, Schema, UserData};
    /// # #[derive(Default, Deserialize, Serialize)]
    /// # #[serde(default)]
    /// # struct Player { score: u32 }
    /// # impl Schema for Player {}
    /// fn win(player: &mut UserData<Player>) -> Result<u32, Error> {
    ///     player.update(|player| {
    ///         player.score += 10;
    ///         player.score
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// After an error nothing has changed. [`is_encode`](Error::is_encode) where the value is not a
    /// JSON object, or could not be read again, as with NaN; [`is_decode`](Error::is_decode) where
    /// another handle made the data unreadable as a `T`; [`is_turn_ended`](Error::is_turn_ended)
    /// after the turn has ended; [`is_element_disabled`](Error::is_element_disabled) where the
    /// user's data is not stored; [`is_reentrant`](Error::is_reentrant) inside the closure of an
    /// `update`.
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

/// Sets the user's data aside, unless another handle has made it readable meanwhile. Returns the
/// value, and whether data was set aside.
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
        state.data_writes.set_changed(&data, &instead);
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

/// Shows the type, but no data.
impl<T> fmt::Debug for UserData<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserData")
            .field("type", &std::any::type_name::<T>())
            .field("is_quarantined", &self.is_quarantined)
            .finish_non_exhaustive()
    }
}
