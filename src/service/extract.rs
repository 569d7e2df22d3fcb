//! The handles as axum extractors.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::body::{NoUser, may_have_user};
use crate::error::{Error, Kind};
use crate::observe;
use crate::turn::{
    AfterReply, Conversation, History, Schema, Session, StreamedTurn, User, UserData,
};

/// Returns the rejection of a request that has no handle `name`.
fn rejection(parts: &Parts, name: &str) -> Error {
    let extensions = &parts.extensions;
    let is_served = extensions.get::<NoUser>().is_some() || extensions.get::<Session>().is_some();
    if may_have_user(&parts.method, &parts.headers) && !is_served {
        return Error::new(
            Kind::LayerMissing,
            format!(
                "no `{name}` in this request: add `.layer(PersistenceLayer::new(…))` around this \
                 handler"
            ),
        );
    }
    if name == "Conversation" {
        let message = "no `Conversation` in this request: its platform names none; extract \
                       `Option<Conversation>` to accept it";
        return Error::new(Kind::MissingConversation, message);
    }
    Error::new(
        Kind::MissingUser,
        format!(
            "no `{name}` in this request: no platform recognised a user in it; extract \
             `Option<{name}>` to accept it"
        ),
    )
}

macro_rules! extractor {
    ($handle:ident) => {
        extractor!($handle, $handle, Clone::clone);
    };
    // Made of another handle.
    ($handle:ident, $from:ident, $make:expr) => {
        /// Rejects with [`is_layer_missing`](Error::is_layer_missing), a 500, if the layer is
        /// missing, and with a 400, [`is_missing_user`](Error::is_missing_user) or
        /// [`is_missing_conversation`](Error::is_missing_conversation), if the request has none.
        impl<S: Send + Sync> FromRequestParts<S> for $handle {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
                let handle = parts.extensions.get::<$from>().map($make);
                handle.ok_or_else(|| rejection(parts, stringify!($handle)))
            }
        }

        /// Extracts `None` if the request has none. Rejects with
        /// [`is_layer_missing`](Error::is_layer_missing), a 500, if the layer is missing.
        impl<S: Send + Sync> OptionalFromRequestParts<S> for $handle {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
                match parts.extensions.get::<$from>().map($make) {
                    Some(handle) => Ok(Some(handle)),
                    None => match rejection(parts, stringify!($handle)) {
                        error if !error.is_layer_missing() => Ok(None),
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
extractor!(StreamedTurn, Session, StreamedTurn::from_session);
extractor!(AfterReply);
extractor!(Conversation);

/// Rejects as [`User`] does, and with [`is_decode`](Error::is_decode), a 500, if the data cannot be
/// read as a `T`.
impl<T: Schema, S: Send + Sync> FromRequestParts<S> for UserData<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match parts.extensions.get::<User>() {
            Some(user) => user_data(user),
            None => Err(rejection(parts, "UserData")),
        }
    }
}

/// Extracts `None` if the request has no user. Otherwise rejects as `UserData` does.
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

/// Reads the data, and logs an error, since the handler does not run and cannot log it.
fn user_data<T: Schema>(user: &User) -> Result<UserData<T>, Error> {
    UserData::from_user(user).inspect_err(|error| observe::not_read(user.platform(), error))
}
