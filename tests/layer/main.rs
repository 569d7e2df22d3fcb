//! The promises of the layer, tested through its public interface.

#![allow(missing_docs, clippy::expect_used, clippy::needless_pass_by_value)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod after_reply;
mod aliases;
mod authenticated;
mod batches;
mod bodies;
mod cancellation;
mod client_sessions;
mod common;
mod concurrency;
mod conflicts;
mod conversations;
mod echoes;
mod elements;
mod erasure;
mod handles;
mod history;
mod identity;
mod keys;
mod messages;
mod mock;
mod observe;
mod outages;
mod places;
mod platform_requests;
mod platforms;
mod properties;
mod receipts;
mod redelivery;
mod repeats;
mod replies;
mod requests;
mod sessions;
mod side_by_side;
mod socket;
mod stacks;
mod statuses;
mod streams;
mod turns;
mod typed;
mod untouched;
mod without_request;
