//! What AWS says, as an error of this crate: with its code, the action and the table, without ids and data.

use std::error::Error as StdError;
use std::fmt;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;

use crate::Error;
use crate::error::Kind;

/// Texts of AWS that say what is wrong with a request without quoting it.
const HARMLESS: [&str; 4] = [
    "The provided key element does not match the schema",
    "One or more parameter values were invalid: Missing the key",
    "One or more parameter values were invalid: Type mismatch for",
    "The table does not have the specified index",
];

/// What DynamoDB answered.
#[derive(Debug)]
struct Answer {
    message: Option<String>,
    request: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or("no further explanation"))?;
        match &self.request {
            Some(request) => write!(f, " (request {request})"),
            None => Ok(()),
        }
    }
}

impl StdError for Answer {}

/// `action` on `table` failed.
pub(super) fn failed<E, R>(action: &str, table: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
    SdkError<E, R>: RequestId,
{
    let what = match &error {
        SdkError::ServiceError(_) => code(&error).unwrap_or("an error without a code"),
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) => "the request could not be sent",
        SdkError::ConstructionFailure(_) => "the request could not be made",
        _ => "an answer that cannot be read",
    };
    let failed =
        Error::new(Kind::Database, format!("{action} on table \"{table}\" failed: {what}"));
    let SdkError::ServiceError(context) = &error else {
        return failed.with_source(error);
    };
    let message = context.err().message().map(str::to_owned);
    // What is wrong with a request is told by quoting it.
    let quotes = |message: &str| {
        code(&error)
            .is_none_or(|code| code.contains("Validation") || code.contains("Serialization"))
            && !HARMLESS.iter().any(|harmless| message.starts_with(harmless))
    };
    let message = message.filter(|message| !quotes(message));
    failed.with_source(Answer { message, request: error.request_id().map(str::to_owned) })
}

/// AWS's code of the error, as `ResourceNotFoundException`.
pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error()?.code()
}
