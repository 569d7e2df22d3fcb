//! Checks that a request is genuine: signatures, tokens and secrets of every platform.
//!
//! [`VerifyLayer`] stands around the persistence layer, or alone. It has a method for each platform
//! whose check is ready; others take one of the verifiers of this module, or one of your own.
//!
//! ```
//! use tower_persistence::VerifyLayer;
//! use tower_persistence::verify::{FixedHeader, Hmac};
//!
//! let layer = VerifyLayer::new()
//!     .meta("app secret", "verify token")
//!     .slack("signing secret")
//!     .telegram("secret_token")
//!     .verifier("openai", Hmac::standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
//!     .verifier("dialogflow", FixedHeader::basic("dialogflow", "password"))
//!     .trust("web");
//! ```

mod alexa;
mod checks;
mod ed25519;
mod fetch;
mod future;
mod handshake;
mod header;
mod hmac;
#[cfg(feature = "verify-http")]
mod http_fetcher;
mod jwt;
mod layer;
mod observe;
mod platforms;
mod query;
mod refusal;
mod replay;
mod secrets;
mod service;
mod settings;
mod time;
mod twilio;
mod verifier;

pub use self::alexa::Alexa;
pub use self::ed25519::Discord;
pub use self::fetch::{Fetched, Fetcher};
pub use self::future::VerifyFuture;
pub use self::header::FixedHeader;
pub use self::hmac::Hmac;
#[cfg(feature = "verify-http")]
pub use self::http_fetcher::HttpFetcher;
pub use self::jwt::{Jwt, Keys};
pub use self::layer::VerifyLayer;
pub use self::refusal::{Cause, Refusal};
pub use self::secrets::Secrets;
pub use self::service::Verify;
pub use self::twilio::Twilio;
pub use self::verifier::{Proof, SignedRequest, Verifier};
