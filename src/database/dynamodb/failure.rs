//! Turns AWS's errors into errors of this crate: with code, action and table, without ids and data.

use std::error::Error as StdError;
use std::fmt;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;

use crate::error::{BoxError, Error, Kind};

/// AWS error codes for a call denied by policy.
pub(super) const DENIED: [&str; 2] = ["AccessDeniedException", "AccessDenied"];

/// AWS error codes for too many calls at a time. They say nothing about the table.
pub(super) const BUSY: [&str; 3] =
    ["ThrottlingException", "RequestLimitExceeded", "ProvisionedThroughputExceededException"];

/// AWS error code for a table that does not exist.
pub(super) const MISSING: &str = "ResourceNotFoundException";

/// AWS error code for a table that already exists.
pub(super) const IN_USE: &str = "ResourceInUseException";

/// Error code of a server that does not know the call.
pub(super) const UNKNOWN_OPERATION: &str = "UnknownOperationException";

/// Texts of AWS that describe a problem with a request without quoting the request.
const HARMLESS: [(&str, Trouble); 7] = [
    ("The provided key element does not match the schema", Trouble::Key),
    ("The number of conditions on the keys is invalid", Trouble::Key),
    // The text of DynamoDB Local.
    ("One of the required keys was not given a value", Trouble::Key),
    ("One or more parameter values were invalid: Missing the key", Trouble::Key),
    ("One or more parameter values were invalid: Type mismatch for", Trouble::IndexKey),
    ("Item size has exceeded the maximum allowed size", Trouble::TooLarge),
    ("Item size to update has exceeded the maximum allowed size", Trouble::TooLarge),
];

/// A problem that needs more than an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The table is missing, or is being created.
    Missing,
    /// The table has another key.
    Key,
    /// An index has a key of another type.
    IndexKey,
    TooLarge,
    Denied,
    Busy,
    /// Any other problem, or no answer.
    Other,
}

/// Marks the cause of a missing answer, and displays it unchanged.
#[derive(Debug)]
struct Silence(BoxError);

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Silence {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// An error that DynamoDB answered.
#[derive(Debug)]
struct Answer {
    message: Option<String>,
    request: Option<String>,
    trouble: Trouble,
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

/// Makes the error for an `action` on `table` that failed.
pub(super) fn failed<E, R>(action: &str, table: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
    SdkError<E, R>: RequestId,
{
    // An error about credentials is already complete.
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    if let Some(ours) = causes.filter_map(|error| error.downcast_ref::<Error>()).next() {
        return ours.clone();
    }
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
        return failed.with_source(Silence(error.into()));
    };
    let message = context.err().message().map(str::to_owned);
    // AWS's text on an invalid request quotes the request.
    let quotes = |message: &str| {
        code(&error)
            .is_none_or(|code| code.contains("Validation") || code.contains("Serialization"))
            && !HARMLESS.iter().any(|(harmless, _)| message.starts_with(harmless))
    };
    let trouble = told(code(&error).unwrap_or_default(), message.as_deref().unwrap_or_default());
    let message = message.filter(|message| !quotes(message));
    let request = error.request_id().map(str::to_owned);
    failed.with_source(Answer { message, request, trouble })
}

fn told(code: &str, message: &str) -> Trouble {
    match code {
        MISSING => Trouble::Missing,
        code if DENIED.contains(&code) => Trouble::Denied,
        code if BUSY.contains(&code) => Trouble::Busy,
        _ => {
            let is_told = |(text, _): &&(&str, _)| message.starts_with(text);
            HARMLESS.iter().find(is_told).map_or(Trouble::Other, |(_, trouble)| *trouble)
        }
    }
}

/// Returns the problem behind an error made by [`failed`], and `None` for any other error.
pub(super) fn trouble(error: &Error) -> Option<Trouble> {
    let source = error.source()?;
    let told = source.downcast_ref::<Answer>().map(|answer| answer.trouble);
    told.or_else(|| source.is::<Silence>().then_some(Trouble::Other))
}

/// Returns AWS's error code, such as `ResourceNotFoundException`.
pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error()?.code()
}
