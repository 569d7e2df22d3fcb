//! One turn of one user: what the handles share, from load to save.
//!
//! [`begin`] makes of a loaded record what the handler finds, [`state`] is what the handles share,
//! [`seal`] ends the turn, and [`merge`] does what it did to a record that another process saved
//! meanwhile.

mod begin;
mod data;
#[cfg(feature = "axum")]
mod extract;
mod handled;
mod history;
mod merge;
mod place;
mod receipts;
mod seal;
mod session;
mod sessions;
mod state;
mod typed;
mod user;
mod writes;

pub use self::history::History;
pub(crate) use self::seal::{Exchange, Keep, Outcome};
pub use self::session::Session;
pub(crate) use self::state::{Basis, Turn};
pub use self::typed::{Migrated, Migrations, Schema, UserData};
pub use self::user::{MetaData, User};
