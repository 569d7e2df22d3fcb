//! The promises of `VerifyLayer` and its verifiers, tested through the public interface.

#![allow(missing_docs, clippy::expect_used, clippy::needless_pass_by_value)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod alexa;
mod authority;
mod common;
mod fetching;
mod guide;
mod handshakes;
mod jwt;
mod layer;
mod memory;
#[cfg(feature = "metrics")]
mod observe;
mod properties;
mod stacks;
mod vectors;
