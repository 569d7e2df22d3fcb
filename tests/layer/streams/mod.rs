//! Replies that are streamed: the turn ends with the body.

mod batches;
mod endings;
mod failures;
mod finish;
mod hang_ups;
mod mock;
mod properties;
mod queue;
mod script;
mod socket;
