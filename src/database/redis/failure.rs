//! Turns the errors of client and server into errors of this crate, with a remedy and without the
//! keys, host names and users that their texts may hold.

use std::error::Error as _;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

use super::shared::Replicas;
use crate::error::{Error, Kind};

/// The action that failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    Connect,
    Load,
    Save,
    Delete,
}

impl Action {
    fn text(self) -> &'static str {
        match self {
            Self::Connect => "connecting for",
            Self::Load => "loading from",
            Self::Save => "saving to",
            Self::Delete => "deleting from",
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Save | Self::Delete)
    }
}

/// The server's codes, and what to do about them. A script's errors may hold a code further on.
/// <https://valkey.io/topics/protocol/#simple-errors>
const CODES: [(&str, &str); 17] = [
    (
        "READONLY",
        "the server is a replica, which takes no writes: name the primary, or a host name that \
         follows a fail-over",
    ),
    (
        "LOADING",
        "the server has been started and is loading its data: it answers when that is done",
    ),
    (
        "MASTERDOWN",
        "the server is a replica that has lost its primary: wait for the fail-over, or name the \
         primary",
    ),
    (
        "CLUSTERDOWN",
        "a part of the cluster has no primary: wait for the fail-over, or see `CLUSTER INFO`",
    ),
    (
        "MOVED",
        "the servers of the cluster send the call from one to another: see whether `CLUSTER SLOTS` \
         names hosts that can be reached from here",
    ),
    (
        "ASK",
        "the servers of the cluster send the call from one to another: see whether `CLUSTER SLOTS` \
         names hosts that can be reached from here",
    ),
    (
        "OOM",
        "the server has no memory left, and nothing was stored: raise `maxmemory`, or store less, \
         such as with `expire_users_after`",
    ),
    (
        "MISCONF",
        "the server cannot write to its disk and refuses to store more: free some space, and look \
         at its log",
    ),
    (
        "NOREPLICAS",
        "the server has fewer replicas than its `min-replicas-to-write`: start them, or lower that",
    ),
    ("NOAUTH", PASSWORD),
    ("WRONGPASS", "the server does not accept user name and password: correct them in the URL"),
    (
        "NOPERM",
        "the server's user has too few rights: allow `+hmget +hget +hexists +hkeys +hset +hdel \
         +exists +persist +pexpire +eval +evalsha` on the keys of the prefix, `+wait` with \
         `wait_replicas`, and `+asking` in a cluster",
    ),
    (
        "WRONGTYPE",
        "a key that begins with the prefix belongs to another program and is left as it is: set \
         another `prefix`",
    ),
    ("BUSY", "the server is running a script that does not end: see `SCRIPT KILL`"),
    (
        "DENIED",
        "the server is in protected mode and takes local connections only: give it a password",
    ),
    ("TRYAGAIN", "the cluster is moving the key: it answers when that is done"),
    ("NOSCRIPT", "the server forgets scripts at once: it needs `EVAL`"),
];

const PASSWORD: &str = "the server asks for a password: name it in the URL, as in \
                        redis://user:password@host";

/// Phrases of connections that failed, and what to do. The first match counts.
const CAUSES: [(&[&str], &str); 8] = [
    (
        &["invalid peer certificate"],
        "the server's certificate is not accepted: correct the host name, or pass a `client` that \
         trusts its authority",
    ),
    (
        &["received corrupt message", "InvalidContentType"],
        "the URL asks for TLS, and the server does not speak it: write `redis:` in place of \
         `rediss:`",
    ),
    (
        &["received fatal alert"],
        "the server ended the TLS handshake: it may ask for a certificate, which a `client` has",
    ),
    (
        &["onnection refused"],
        "the connection was refused, as no server listens there: start it, or correct host and port",
    ),
    (
        &["failed to lookup", "not known", "No address", "resolve"],
        "the host name could not be resolved: correct it in the URL",
    ),
    (
        &["timed out"],
        "the server did not answer in time: one that speaks TLS only, or none, may do so",
    ),
    (&["unreachable", "No route"], "the host cannot be reached: look at the network"),
    (
        &["end of file", "early eof", "handshake eof", "onnection reset", "roken pipe"],
        "the server closed the connection: one side may expect TLS and the other not, or it has \
         too many clients",
    ),
];

/// Makes the error of an action that failed. `is_uncertain`: it may have taken effect all the same.
pub(super) fn failed(
    action: Action,
    prefix: &str,
    error: &RedisError,
    is_uncertain: bool,
) -> Error {
    let reason = reason(error);
    let doubt = match is_uncertain && action.writes() {
        true => ". An answer was lost, so it is not known whether that was done",
        false => "",
    };
    database(action, prefix, &format!("{reason}{doubt}"))
}

pub(super) fn late(action: Action, prefix: &str, limit: Duration) -> Error {
    let doubt = match action.writes() {
        true => " It is not known whether that was done.",
        false => "",
    };
    let text = format!(
        "Redis: {} `{prefix}*` took longer than {limit:?}.{doubt} See whether the server hangs or \
         has too much to do, or raise `timeout`",
        action.text()
    );
    Error::new(Kind::Timeout, text)
}

/// Makes the error of a save that may have been done before another writer changed the record.
pub(super) fn uncertain(prefix: &str) -> Error {
    let reason = "the answer was lost, and another writer changed the record before the save could \
                  be repeated. It is not known whether that was done: send the request again";
    database(Action::Save, prefix, reason)
}

/// Makes the error of a write that too few replicas have.
pub(super) fn unconfirmed(
    action: Action,
    prefix: &str,
    confirmed: i64,
    Replicas { count, timeout }: Replicas,
) -> Error {
    let reason = format!(
        "the primary did it, but {confirmed} of {count} replicas confirmed it within {timeout:?}, \
         so a fail-over may lose it: start the replicas, or lower `wait_replicas`"
    );
    database(action, prefix, &reason)
}

/// Makes the error of a record that has disappeared without a tombstone.
pub(super) fn gone(prefix: &str) -> Error {
    let reason = "the record disappeared during the turn, as it expired, was evicted (see \
                  `maxmemory-policy`) or was removed by another program. Nothing was stored, and \
                  the next turn starts anew";
    database(Action::Save, prefix, reason)
}

pub(super) fn foreign(action: Action, prefix: &str) -> Error {
    let reason = "a key that begins with the prefix belongs to another program and is left as it \
                  is: set another `prefix`";
    database(action, prefix, reason)
}

pub(super) fn senseless(action: Action, prefix: &str) -> Error {
    database(action, prefix, "the server's answer makes no sense: does a proxy stand in between?")
}

fn database(action: Action, prefix: &str, reason: &str) -> Error {
    let text = format!("Redis: {} `{prefix}*` failed: {reason}", action.text());
    Error::new(Kind::Database, text)
}

fn reason(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => answered(error),
        ErrorKind::AuthenticationFailed => {
            let code = error.detail().and_then(known_code);
            let wrong =
                "the server does not accept user name and password: correct them in the URL";
            code.unwrap_or(wrong).to_owned()
        }
        ErrorKind::Io => {
            let (text, source) = (error.to_string(), error.source().map(ToString::to_string));
            let cause = cause(&text).or_else(|| cause(&source.unwrap_or_default()));
            cause.unwrap_or("the connection failed: look at the network").to_owned()
        }
        ErrorKind::InvalidClientConfig => {
            "the client refuses its settings: look at the URL or the `client`".to_owned()
        }
        ErrorKind::Parse => "the server does not speak Redis's protocol: correct host and port in \
                             the URL, or write `rediss:` if it speaks TLS"
            .to_owned(),
        ErrorKind::RESP3NotSupported => {
            "the server does not know RESP3: remove `protocol` from the URL".to_owned()
        }
        _ => match cause(&error.to_string()) {
            Some(cause) => cause.to_owned(),
            None => "the client failed: look at the URL or the `client`".to_owned(),
        },
    }
}

/// The reason that the server's answer gives. Only codes of a fixed list are shown.
fn answered(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let code = error.code().unwrap_or_default();
    if let Some((_, reason)) = CODES.iter().find(|(known, _)| *known == code) {
        return (*reason).to_owned();
    }
    if let Some(reason) = known_code(detail) {
        return reason.to_owned();
    }
    if detail.contains("max number of clients") {
        return "the server has too many clients: raise its `maxclients`".to_owned();
    }
    if detail.contains("SELECT is not allowed") || detail.contains("DB index") {
        return "the server has no database of this number, and a cluster has one database only: \
                correct the number in the URL, or leave it out"
            .to_owned();
    }
    if detail.contains("unknown command") || detail.contains("not allowed") {
        return "the server has a command switched off: it needs `EVAL`, `EVALSHA`, `HMGET`, and \
                `WAIT` with `wait_replicas`"
            .to_owned();
    }
    let is_code =
        !code.is_empty() && code.len() <= 20 && code.bytes().all(|c| c.is_ascii_uppercase());
    match is_code {
        true => format!("the server refused it ({code}): look at its log"),
        false => "the server refused it: look at its log".to_owned(),
    }
}

/// Finds a code within a text: servers before version 7 wrap a script's errors.
fn known_code(text: &str) -> Option<&'static str> {
    let words = || text.split(|c: char| !c.is_ascii_uppercase());
    let found = CODES.iter().find(|(code, _)| words().any(|word| word == *code));
    found.map(|(_, reason)| *reason)
}

fn cause(text: &str) -> Option<&'static str> {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    CAUSES.iter().find(|(phrases, _)| says(phrases)).map(|(_, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn of_server(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn each_answer_of_the_server_has_a_remedy_and_shows_nothing_else() {
        for (line, expected) in [
            ("READONLY You can't write against a read only replica. script: SECRET", "replica"),
            ("LOADING Valkey is loading the dataset in memory", "loading its data"),
            ("MASTERDOWN Link with MASTER is down", "lost its primary"),
            ("CLUSTERDOWN The cluster is down", "CLUSTER INFO"),
            ("MOVED 3999 SECRET:6381", "CLUSTER SLOTS"),
            ("ASK 3999 SECRET:6381", "CLUSTER SLOTS"),
            ("ERR SELECT is not allowed in cluster mode", "one database"),
            ("ERR DB index is out of range", "the number in the URL"),
            ("OOM command not allowed when used memory > 'maxmemory'.", "maxmemory"),
            ("MISCONF Errors writing to the AOF file: SECRET", "disk"),
            ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
            ("NOAUTH Authentication required.", "password"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "password"),
            ("NOPERM User SECRET has no permissions to access the key", "+evalsha"),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", "`prefix`"),
            ("BUSY Valkey is busy running a script", "SCRIPT KILL"),
            ("DENIED Redis is running in protected mode", "protected mode"),
            (
                "ERR Error running script (call to f_1): @user_script:2: -OOM command not allowed",
                "maxmemory",
            ),
            ("ERR max number of clients reached", "maxclients"),
            ("ERR unknown command 'EVALSHA', with args beginning with: 'SECRET'", "EVALSHA"),
            ("ERR SECRET", "refused it (ERR)"),
            ("SOMETHING SECRET", "refused it (SOMETHING)"),
            ("secret SECRET", "refused it: look"),
        ] {
            let error = failed(Action::Save, "app:", &of_server(line), false);
            let text = format!("{error} {error:?}");
            assert!(text.contains(expected) && !text.to_lowercase().contains("secret"), "{text}");
            assert!(text.contains("saving to `app:*` failed: "), "{text}");
            assert!(error.is_database());
        }
    }

    #[test]
    fn each_failure_of_a_connection_has_a_remedy_and_shows_nothing_else() {
        for (said, expected) in [
            ("Connection refused (os error 111)", "no server listens there"),
            ("failed to lookup address information: SECRET", "resolved"),
            ("invalid peer certificate: certificate not valid for name \"SECRET\"", "certificate"),
            ("received corrupt message of type InvalidContentType", "`redis:`"),
            ("received fatal alert: CertificateRequired", "handshake"),
            ("tls handshake eof", "closed"),
            ("No route to host (os error 113)", "reached"),
            ("SECRET", "look at the network"),
        ] {
            let error = RedisError::from(io::Error::other(said));
            let text = format!("{:?}", failed(Action::Load, "app:", &error, true));
            assert!(text.contains(expected) && !text.contains("SECRET"), "{text}");
            assert!(!text.contains("not known"), "nothing was written: {text}");
        }
    }

    #[test]
    fn a_lost_answer_is_said() {
        let error = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        for action in [Action::Save, Action::Delete] {
            let text = failed(action, "app:", &error, true).to_string();
            assert!(text.contains("not known whether"), "{text}");
        }
    }
}
