//! What the layer promises, through its public interface.

#![allow(missing_docs)]

mod common;
mod elements;
mod handles;
mod history;
mod mock;
mod properties;
mod requests;
mod sessions;
mod socket;
mod stacks;
mod turns;
