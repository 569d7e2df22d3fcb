//! An authentication layer: checks the bearer token, and puts its claims into the extensions.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};

/// What the token says of its user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The user, whatever client the request comes from.
    pub sub: String,
    /// The end of the token's validity, in seconds since 1970.
    pub exp: u64,
}

/// Lets only requests with a valid token pass.
pub(crate) async fn authenticate(
    State(key): State<DecodingKey>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(claims) = bearer(request.headers()).and_then(|token| claims(token, &key)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    request.extensions_mut().insert(claims);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn claims(token: &str, key: &DecodingKey) -> Option<Claims> {
    // One algorithm: otherwise the token would choose how it is checked.
    let validation = Validation::new(Algorithm::HS256);
    decode(token, key, &validation).ok().map(|token| token.claims)
}
