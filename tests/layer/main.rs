//! What the layer promises, through its public interface.

#![allow(missing_docs, clippy::expect_used, clippy::needless_pass_by_value)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod cancellation;
mod common;
mod concurrency;
mod conflicts;
mod elements;
mod handles;
mod history;
mod mock;
mod observe;
mod outages;
mod properties;
mod requests;
mod sessions;
mod socket;
mod stacks;
mod turns;
