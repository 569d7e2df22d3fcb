//! One turn of one user: the state that the handles share, from load to save.
//!
//! [`begin`] makes a turn of the loaded record, [`state`] holds its state, [`seal`] ends the turn,
//! and [`merge`] applies its changes to a record that another process has saved meanwhile.

mod after_reply;
pub(crate) mod aliases;
mod begin;
mod conversation;
mod data;
mod ending;
mod handled;
mod handles;
mod history;
mod merge;
mod messages;
mod place;
mod receipts;
mod seal;
mod session;
mod sessions;
mod state;
mod streamed;
mod typed;
mod user;
mod writes;

pub use self::after_reply::AfterReply;
pub(crate) use self::after_reply::DetachedWork;
pub(crate) use self::conversation::OpenConversation;
pub use self::conversation::{Conversation, ConversationState};
pub(crate) use self::ending::StreamEnd;
pub(crate) use self::handled::{Handled, StoredReply};
pub use self::handles::Handles;
pub use self::history::History;
pub use self::messages::Message;
pub(crate) use self::seal::{Exchange, Keep, Outcome};
pub use self::session::Session;
pub(crate) use self::state::{Basis, Turn};
pub use self::streamed::StreamedTurn;
pub use self::typed::{Migrated, Migrations, Schema, UserData};
pub use self::user::{MetaData, User};
