//! The handles as extractors of axum.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::{History, Schema, Session, User, UserData};
use crate::body::{NoUser, may_have_user};
use crate::error::{Error, Kind};
use crate::observe;

fn rejection(parts: &Parts, name: &str) -> Error {
    if may_have_user(&parts.method, &parts.headers) && parts.extensions.get::<NoUser>().is_none() {
        return Error::new(
            Kind::LayerMissing,
            format!(
                "`{name}` is not there: add `.layer(PersistenceLayer::new(…))` around this handler"
            ),
        );
    }
    Error::new(
        Kind::MissingUser,
        format!(
            "`{name}` is not there: the request is none of a known platform with a user; take `Option<{name}>` to serve it"
        ),
    )
}

macro_rules! extractor {
    ($handle:ident) => {
        /// The rejection is [`is_layer_missing`](Error::is_layer_missing), a 500, where the layer is missing, and
        /// [`is_missing_user`](Error::is_missing_user), a 400, where the request has no user.
        impl<S: Send + Sync> FromRequestParts<S> for $handle {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
                let handle = parts.extensions.get::<Self>().cloned();
                handle.ok_or_else(|| rejection(parts, stringify!($handle)))
            }
        }

        /// `None` where the request has no user; the rejection is
        /// [`is_layer_missing`](Error::is_layer_missing), a 500, where the layer is missing.
        impl<S: Send + Sync> OptionalFromRequestParts<S> for $handle {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
                match parts.extensions.get::<Self>().cloned() {
                    Some(handle) => Ok(Some(handle)),
                    None => match rejection(parts, stringify!($handle)) {
                        error if error.is_missing_user() => Ok(None),
                        error => Err(error),
                    },
                }
            }
        }
    };
}

extractor!(User);
extractor!(Session);
extractor!(History);

/// The rejection is that of [`User`]; or [`is_decode`](Error::is_decode), a 500, where the data cannot be read as a `T`.
impl<T: Schema, S: Send + Sync> FromRequestParts<S> for UserData<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match parts.extensions.get::<User>() {
            Some(user) => user_data(user),
            None => Err(rejection(parts, "UserData")),
        }
    }
}

/// `None` where the request has no user; otherwise the rejection is that of `UserData`.
impl<T: Schema, S: Send + Sync> OptionalFromRequestParts<S> for UserData<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        match parts.extensions.get::<User>() {
            Some(user) => user_data(user).map(Some),
            None => match rejection(parts, "UserData") {
                error if error.is_missing_user() => Ok(None),
                error => Err(error),
            },
        }
    }
}

/// What no handler gets to see is logged.
fn user_data<T: Schema>(user: &User) -> Result<UserData<T>, Error> {
    UserData::from_user(user).inspect_err(|error| observe::not_read(user.platform(), error))
}
