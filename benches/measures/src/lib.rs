//! What the layer and its databases cost, next to what they cannot do without.
//!
//! [`identity`], [`layer`] and `databases` hold the subjects, each beside its yardstick. `main.rs`
//! measures and draws them, criterion's benches measure those of the layer again, and the test
//! `allocations` counts their allocations. See `README.md`.

#![allow(clippy::missing_panics_doc, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[cfg(feature = "clients")]
pub mod databases;
pub mod identity;
pub mod layer;
pub mod samples;
