//! The bodies of requests, which are read and put back, and of responses, of which a part may be
//! read.

mod request;
mod response;

pub use self::request::{FromBuffered, OriginalBody};
pub(crate) use self::request::{
    NoUser, announced, buffer, is_bodiless, is_read, may_have_user, put_back,
};
pub use self::response::ResponseBody;
pub(crate) use self::response::{Unread, poll_bytes};
