//! The handles as extractors of axum.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::{History, Session, User};
use crate::Error;
use crate::body::{NoUser, may_have_user};
use crate::error::Kind;

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
        Kind::NoUser,
        format!(
            "`{name}` is not there: the request is none of a known platform with a user; take `Option<{name}>` to serve it"
        ),
    )
}

macro_rules! extractor {
    ($handle:ident) => {
        /// The rejection is [`is_layer_missing`](Error::is_layer_missing), a 500, where the layer is missing, and
        /// [`is_no_user`](Error::is_no_user), a 400, where the request has no user.
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
                        error if error.is_no_user() => Ok(None),
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
