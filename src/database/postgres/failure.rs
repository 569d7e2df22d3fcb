//! PostgreSQL's errors as those of this crate, with what to do about them. Their texts may quote
//! ids, data and the user's name, so only codes and the names of constraints are taken over.

use std::error::Error as _;
use std::io;

use deadpool_postgres::PoolError;
use tokio_postgres::Error as PgError;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::{Error, Kind};

/// States whether a statement took effect that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The connection broke off before the answer.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) effect: Effect,
    code: Option<SqlState>,
    kind: Kind,
    reason: String,
}

impl Failure {
    /// A statement that failed.
    pub(super) fn of_statement(error: &PgError) -> Self {
        match error.as_db_error() {
            Some(refusal) => Self::refused(refusal),
            None => Self::new(Effect::Unknown, broken(error)),
        }
    }

    /// A connection that the pool could not open: nothing was sent.
    pub(super) fn of_connection(error: &PoolError) -> Self {
        let failure = match error {
            PoolError::Backend(error) => Self::of_statement(error),
            PoolError::Closed => Self::new(Effect::None, CLOSED),
            PoolError::Timeout(_) => Self::new(
                Effect::None,
                "the pool had no connection in time: look for long transactions, or enlarge it",
            ),
            _ => Self::new(Effect::None, "the pool gave no connection: check its settings"),
        };
        Self { effect: Effect::None, ..failure }
    }

    fn new(effect: Effect, reason: impl Into<String>) -> Self {
        Self { effect, code: None, kind: Kind::Database, reason: reason.into() }
    }

    fn refused(refusal: &DbError) -> Self {
        // The server ends the session with it. A transaction may have been committed before, as
        // where it waits for a standby.
        let is_end = matches!(refusal.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
            || refusal.code().code().starts_with("08");
        let effect = if is_end { Effect::Unknown } else { Effect::None };
        let (kind, reason) = reason(refusal);
        let code = refusal.code();
        let reason = format!("{reason} (error {})", code.code());
        Self { effect, code: Some(code.clone()), kind, reason }
    }

    fn has(&self, codes: &[SqlState]) -> bool {
        self.effect == Effect::None && self.code.as_ref().is_some_and(|code| codes.contains(code))
    }

    /// Returns whether the statement was undone for the sake of others and may succeed at once.
    pub(super) fn is_passing(&self) -> bool {
        self.has(&[SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED])
    }

    /// Returns whether the server takes no writes, so that another one may be the primary.
    pub(super) fn is_read_only(&self) -> bool {
        self.has(&[SqlState::READ_ONLY_SQL_TRANSACTION])
    }

    /// Returns whether the table is not the one that was there before.
    pub(super) fn is_other_table(&self) -> bool {
        self.has(&[SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN])
    }

    /// Returns whether a constraint of the table refuses the row.
    pub(super) fn is_constraint(&self) -> bool {
        self.code.as_ref().is_some_and(|code| code.code().starts_with("23"))
    }

    pub(super) fn into_error(self, action: &str, table: &str) -> Error {
        let kind = self.kind;
        let unknown = match (self.effect, action) {
            (Effect::Unknown, "writing to" | "deleting from") => {
                "; whether it took effect is not known"
            }
            _ => "",
        };
        Error::new(kind, text(action, table, &format!("{}{unknown}", self.reason)))
    }
}

pub(super) const CLOSED: &str = "it was closed: connect again";

pub(super) fn failed(action: &str, table: &str, reason: &str) -> Error {
    Error::new(Kind::Database, text(action, table, reason))
}

pub(super) fn text(action: &str, table: &str, reason: &str) -> String {
    format!("PostgreSQL: {action} `{table}` failed: {reason}")
}

/// Error codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn reason(refusal: &DbError) -> (Kind, String) {
    let code = refusal.code();
    let text = match code.code() {
        "28P01" => "the server did not accept user name and password: check them in the URL",
        "28000" => {
            "the server does not let this user in: check the user, `sslmode` and the server's \
             `pg_hba.conf`"
        }
        "3D000" => "the database does not exist: create it with `createdb`, or name another",
        "3F000" => "the schema does not exist: create it with `CREATE SCHEMA`, or name another",
        "42501" => {
            "the role lacks a privilege: grant it SELECT, INSERT, UPDATE and DELETE on the table; \
             to create the table, CREATE on the schema"
        }
        "42P01" => "the table does not exist",
        "53300" => {
            "the server has no connection left: lower `max_connections` of the processes, raise \
             that of the server, or put PgBouncer in front of it"
        }
        "53100" => "the server's disk is full: free some space",
        "25006" => {
            "the server is read-only, as a standby is: name the primary, or all hosts, in the URL"
        }
        "57P01" | "57P02" => "the server ended the connection, as it does when it is restarted",
        "57P03" => "the server is starting, stopping or recovering: try again",
        "57014" => {
            "the statement was cancelled: look for locks on the table, and for a short \
             `statement_timeout`"
        }
        "55P03" | "25P03" | "25P04" => {
            "the server gave up waiting: look for locks on the table, and for short time-outs of \
             the role"
        }
        "40001" | "40P01" => "other transactions kept changing the same row: try again",
        code if code.starts_with("23") => return (Kind::Encode, constraint(refusal)),
        code if code.starts_with("22") || code == "54000" => {
            return (
                Kind::Encode,
                "the server cannot hold the record: look at generated columns and indexes of the \
                 table, which may not take every value"
                    .to_owned(),
            );
        }
        code if code.starts_with("42") => {
            "the table or a rule of it is not as expected: compare it with the documentation of \
             `PostgresDb`"
        }
        code if code.starts_with("53") => "the server has too little memory or disk",
        code if code.starts_with("08") => "the connection failed: try again",
        _ => "the server refused it: look into its log",
    };
    (Kind::Database, text.to_owned())
}

/// Names the constraint, but not the value that it refuses.
fn constraint(refusal: &DbError) -> String {
    let what = match (refusal.constraint(), refusal.column()) {
        (Some(name), _) => format!("the constraint `{name}`"),
        (None, Some(name)) => format!("the column `{name}`"),
        (None, None) => "a constraint".to_owned(),
    };
    format!("{what} of the table refuses the record: change the constraint, or the data")
}

/// Phrases of the client's texts, and what they mean. The first match counts.
const CAUSES: [(&[&str], &str); 10] = [
    (
        &["does not support TLS"],
        "the server does not speak TLS: set `sslmode=prefer`, or switch its TLS on",
    ),
    (&["password missing"], "the server asks for a password: add it to the URL"),
    (&["onnection refused"], "no server listens there: check host and port, and whether it runs"),
    (&["No such file"], "there is no socket of a server in that directory: check the path"),
    (
        &["failed to lookup", "not known", "resolve"],
        "the host name could not be resolved: check it, and the DNS",
    ),
    (&["unreachable", "No route"], "the host cannot be reached: check network and firewall"),
    (&["timed out", "timeout"], "the server did not answer in time: check network and firewall"),
    (
        &["does not allow writes", "read-only", "read only"],
        "no server of the URL takes writes: wait for the fail-over, or name the primary",
    ),
    (
        &["end of file", "early eof", "handshake eof", "onnection reset", "Broken pipe", "closed"],
        "the server closed the connection, as it does when it is restarted",
    ),
    (&["received corrupt message"], "the server does not speak TLS: check `sslmode`"),
];

/// The cause of an error that did not come from the server.
fn broken(error: &PgError) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    cause(&texts.join(": ")).unwrap_or_else(|| {
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        match io {
            Some(error) => format!("the connection failed: {}", error.kind()),
            None => "the client and the server do not understand each other".to_owned(),
        }
    })
}

fn cause(text: &str) -> Option<String> {
    const CERTIFICATE: &str = "invalid peer certificate: ";
    if let Some((_, why)) = text.split_once(CERTIFICATE) {
        // The reason comes from a fixed list. Host names may follow it.
        let why: String =
            why.chars().take_while(|each| each.is_alphabetic() || *each == ' ').collect();
        return Some(format!(
            "the server's certificate is not accepted ({}): name its authority with \
             `sslrootcert`, and the host as the certificate does",
            why.trim_end()
        ));
    }
    let is_said = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    CAUSES.iter().find(|(phrases, _)| is_said(phrases)).map(|(_, cause)| (*cause).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_client_indicate_a_cause() {
        for (text, expected) in [
            ("invalid peer certificate: UnknownIssuer", "(UnknownIssuer): name its authority"),
            (
                "invalid peer certificate: certificate not valid for name \"SECRET\"; it is …",
                "(certificate not valid for name):",
            ),
            ("error connecting to server: Connection refused (os error 111)", "listens"),
            ("failed to lookup address information: Name or service not known", "resolved"),
            ("connection closed", "restarted"),
            ("error performing TLS handshake: server does not support TLS", "sslmode"),
        ] {
            let cause = cause(text).unwrap_or_default();
            assert!(cause.contains(expected) && !cause.contains("SECRET"), "{text}: {cause}");
        }
        assert_eq!(cause("SECRET"), None);
    }
}
