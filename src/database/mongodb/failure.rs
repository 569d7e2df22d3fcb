//! The driver's errors, without what may be in their texts: ids, data, and what the URI holds.

use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

use crate::Error;
use crate::error::Kind;

/// <https://www.mongodb.com/docs/manual/reference/error-codes/>
const DUPLICATE_KEY: i32 = 11000;
const UNAUTHORIZED: i32 = 13;

/// That `action` on `place` did not succeed. The error of the driver is not kept as its source: its text quotes the
/// key of a duplicate.
pub(super) fn failure(action: &str, place: &str, error: &DriverError) -> Error {
    Error::new(Kind::Database, format!("MongoDB: {action} `{place}` failed: {}", reason(error)))
}

fn reason(error: &DriverError) -> String {
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
            "the server did not accept user name and password".to_owned()
        }
        ErrorKind::ServerSelection { .. } => "no server that takes writes was reached".to_owned(),
        ErrorKind::Io(error) => format!("the connection failed: {}", error.kind()),
        ErrorKind::ConnectionPoolCleared { .. } => {
            "the connection failed for another request".to_owned()
        }
        ErrorKind::DnsResolve { .. } => "a host name could not be resolved".to_owned(),
        ErrorKind::InvalidTlsConfig { .. } => "the settings of TLS are wrong".to_owned(),
        ErrorKind::IncompatibleServer { .. } => "the server's version is too old".to_owned(),
        ErrorKind::InvalidResponse { .. } => "the server's reply makes no sense".to_owned(),
        ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) => {
            "the document cannot be decoded".to_owned()
        }
        ErrorKind::Shutdown => "the client is closed".to_owned(),
        _ => "the driver failed".to_owned(),
    }
}

fn code(code: i32, name: &str) -> String {
    // A name is one of a fixed list, but it comes from the other side.
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
