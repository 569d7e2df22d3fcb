//! The reasons why the layer could not write into a reply, and their remedies.

use crate::body::Unread;
use crate::observe::Observer;

/// The reason why nothing could be written into a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    Compressed,
    ContentType,
    NotObject,
    TooLong,
    TooSlow,
    Broken,
    /// The turn ends with the body.
    Streamed,
    /// The reply holds another value in the same place.
    Taken,
}

impl Unwritten {
    /// Logs that `what` could not be written, with the cause and its remedy.
    pub(super) fn warn(self, observer: &Observer, what: &'static str) {
        observer.unwritten(what, self.reason(), self.cause());
    }

    /// Returns the label `reason` of the log and the metric.
    fn reason(self) -> &'static str {
        match self {
            Self::Compressed => "compressed",
            Self::ContentType => "content_type",
            Self::NotObject => "not_object",
            Self::TooLong => "too_long",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::Streamed => "streamed",
            Self::Taken => "taken",
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Self::Compressed => {
                "the reply is compressed: put the compression outside of this layer"
            }
            Self::ContentType => {
                "the reply is not JSON: set its content type to `application/json`"
            }
            Self::NotObject => "the reply is not a JSON object: answer with one",
            Self::TooLong => "the reply is over its limit: raise `reply_limit`",
            Self::TooSlow => {
                "the reply did not end in time: raise `reply_timeout`, or do not stream it"
            }
            Self::Broken => "the reply broke off: see the error of its body",
            Self::Streamed => {
                "the reply is streamed: store sessions with `StoredElements::session(true)`, send \
                 the user's id with the request, or end the turn with the head (`TurnEnd::Head`)"
            }
            Self::Taken => {
                "the reply holds another value in its place: remove that from the reply, or from \
                 the session"
            }
        }
    }
}

impl From<Unread> for Unwritten {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLong => Self::TooLong,
            Unread::TooSlow => Self::TooSlow,
            Unread::Broken => Self::Broken,
            Unread::Unsuitable => Self::NotObject,
        }
    }
}
