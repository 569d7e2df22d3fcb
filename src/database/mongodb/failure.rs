//! Turns the driver's errors into errors of this crate, without the ids, data and parts of the URI
//! that their texts may hold.

use std::error::Error as _;
use std::time::Duration;

use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

use super::secrets::without_secrets;
use crate::error::{Error, Kind};

const FORM: &str = "write it as mongodb://user:password@host:27017/database?option=value, with special \
                    characters in user and password percent-encoded";

/// Server error codes.
/// <https://www.mongodb.com/docs/manual/reference/error-codes/>
const DUPLICATE_KEY: i32 = 11000;
const UNAUTHORIZED: i32 = 13;

/// Phrases in the driver's longer texts, and the causes that they indicate. The first match counts.
const CAUSES: [(&[&str], &str); 9] = [
    (
        &["Connection string replicaSet name"],
        "`replicaSet` is not the name of the server's replica set",
    ),
    (&["received corrupt message"], "the URI asks for TLS, and the server does not speak it"),
    (
        &["received fatal alert"],
        "the server ended the TLS handshake; it may ask for a client certificate (`tlsCertificateKeyFile`)",
    ),
    (&["onnection refused"], "the connection was refused: no server listens there"),
    (
        &["end of file", "early eof", "handshake eof", "onnection reset", "Broken pipe"],
        "the server closed the connection: one side may expect TLS and the other not",
    ),
    (&["failed to lookup", "not known", "resolve"], "a host name could not be resolved"),
    (
        &["timed out", "Type: Unknown }"],
        "the server did not answer in time; one that speaks TLS only, or none, may do so",
    ),
    (&["unreachable", "No route"], "the host cannot be reached"),
    (&["ReplicaSetNoPrimary"], "the replica set has no primary"),
];

/// Makes the error for an `action` on `place` that failed. Drops the driver's error, whose text
/// quotes the key of a duplicate.
pub(super) fn failure(action: &str, place: &str, error: &DriverError) -> Error {
    failed(action, place, &reason(error))
}

/// Makes the error for an `action` on `place` that timed out.
pub(super) fn late(action: &str, place: &str, limit: Duration, hint: &str) -> Error {
    failed(action, place, &format!("there was no answer within {limit:?}{hint}"))
}

pub(super) fn failed(action: &str, place: &str, reason: &str) -> Error {
    Error::new(Kind::Database, format!("MongoDB: {action} `{place}` failed: {reason}"))
}

pub(super) fn reason(error: &DriverError) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => code(error.code, &error.code_name),
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            code(error.code, error.code_name.as_deref().unwrap_or_default())
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => format!(
            "it is not known whether a majority has it: {}",
            code(error.code, &error.code_name)
        ),
        ErrorKind::Authentication { .. } => {
            let refusal = "the server did not accept user name and password";
            // Adds the server's own answer, such as an unknown mechanism.
            match error.source().and_then(|source| source.downcast_ref()).map(reason) {
                Some(reason) => format!("{refusal}: {reason}"),
                None => refusal.to_owned(),
            }
        }
        ErrorKind::ServerSelection { message, .. } => {
            format!("no server that takes writes was reached{}", because(message))
        }
        ErrorKind::Io(error) => match cause(&error.to_string()) {
            Some(cause) => format!("the connection failed: {cause}"),
            None => format!("the connection failed: {}", error.kind()),
        },
        ErrorKind::ConnectionPoolCleared { message, .. } => {
            format!("the connection failed for another request{}", because(message))
        }
        ErrorKind::DnsResolve { .. } => "a host name could not be resolved".to_owned(),
        ErrorKind::InvalidTlsConfig { .. } => {
            "a file of `tlsCAFile` or `tlsCertificateKeyFile` holds nothing that TLS can use"
                .to_owned()
        }
        ErrorKind::IncompatibleServer { .. } => {
            "the server's version is too old; update it".to_owned()
        }
        ErrorKind::InvalidResponse { .. } => "the server's reply makes no sense".to_owned(),
        ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) => {
            "the document cannot be decoded".to_owned()
        }
        ErrorKind::Shutdown => "the client is closed".to_owned(),
        _ => "the driver failed".to_owned(),
    }
}

fn because(message: &str) -> String {
    cause(message).map_or_else(String::new, |cause| format!(": {cause}"))
}

fn cause(message: &str) -> Option<String> {
    const CERTIFICATE: &str = "invalid peer certificate: ";
    if let Some((_, why)) = message.split_once(CERTIFICATE) {
        // The reason comes from a fixed list. Host names may follow it.
        let why: String =
            why.chars().take_while(|each| each.is_alphabetic() || *each == ' ').collect();
        return Some(format!("the server's certificate is not accepted: {}", why.trim_end()));
    }
    // The driver drops a server that belongs to another set from its list.
    if message.contains("Type: ReplicaSetNoPrimary") && !message.contains("Servers: [") {
        return Some("no server belongs to the replica set that `replicaSet` names".to_owned());
    }
    let is_said = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    CAUSES.iter().find(|(phrases, _)| is_said(phrases)).map(|(_, cause)| (*cause).to_owned())
}

fn code(code: i32, name: &str) -> String {
    // Names come from a fixed list, but the server sends them.
    match name.chars().all(|each| each.is_ascii_alphanumeric()) && !name.is_empty() {
        true => format!("error {code} ({name})"),
        false => format!("error {code}"),
    }
}

fn code_of(error: &DriverError) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        _ => None,
    }
}

pub(super) fn is_duplicate_key(error: &DriverError) -> bool {
    code_of(error) == Some(DUPLICATE_KEY)
}

pub(super) fn is_unauthorized(error: &DriverError) -> bool {
    code_of(error) == Some(UNAUTHORIZED)
}

/// Returns whether the server refused the document by a rule of the collection, such as a unique
/// index or a `$jsonSchema`.
pub(super) fn is_refused_document(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(_)))
}

/// Makes the error for a URI that the driver refuses, with the driver's reason.
pub(super) fn unusable_uri(uri: &str, error: &DriverError) -> Error {
    match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. }
        | ErrorKind::InvalidTlsConfig { message, .. } => {
            refused_uri(&without_secrets(uri, message))
        }
        _ => refused_uri(&reason(error)),
    }
}

pub(super) fn refused_uri(why: &str) -> Error {
    Error::configuration(format!("the URI of MongoDB cannot be used: {why}; {FORM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_driver_indicate_a_cause() {
        for (message, expected) in [
            ("invalid peer certificate: UnknownIssuer", "is not accepted: UnknownIssuer"),
            (
                "invalid peer certificate: certificate not valid for name \"SECRET\"; it is …",
                "is not accepted: certificate not valid for name",
            ),
            ("I/O error: received fatal alert: CertificateRequired", "tlsCertificateKeyFile"),
            ("failed to lookup address information: Name or service not known", "resolved"),
            ("No route to host (os error 113)", "cannot be reached"),
            (
                "{ Type: ReplicaSetNoPrimary, Set Name: rs, Servers: [ { … Type: RsSecondary } ] }",
                "no primary",
            ),
        ] {
            let cause = cause(message).unwrap_or_default();
            assert!(cause.contains(expected) && !cause.contains("SECRET"), "{message}: {cause}");
        }
        assert_eq!(cause("SECRET"), None);
    }
}
