//! What AWS says, as an error of this crate: with its code, the action and the table, without ids and data.

use std::error::Error as StdError;
use std::fmt;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;

use crate::error::{BoxError, Error, Kind};

/// What AWS answers a call that a policy forbids.
pub(super) const DENIED: [&str; 2] = ["AccessDeniedException", "AccessDenied"];

/// What AWS answers where too much is asked for at a time. It says nothing about the table.
pub(super) const BUSY: [&str; 3] =
    ["ThrottlingException", "RequestLimitExceeded", "ProvisionedThroughputExceededException"];

/// Texts of AWS that say what is wrong with a request without quoting it.
const HARMLESS: [(&str, Trouble); 7] = [
    ("The provided key element does not match the schema", Trouble::Key),
    ("The number of conditions on the keys is invalid", Trouble::Key),
    // DynamoDB Local.
    ("One of the required keys was not given a value", Trouble::Key),
    ("One or more parameter values were invalid: Missing the key", Trouble::Key),
    ("One or more parameter values were invalid: Type mismatch for", Trouble::IndexKey),
    ("Item size has exceeded the maximum allowed size", Trouble::TooLarge),
    ("Item size to update has exceeded the maximum allowed size", Trouble::TooLarge),
];

/// What DynamoDB says is wrong, where that is more than a reason to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The table is missing, or being created.
    Missing,
    /// The table has another key.
    Key,
    /// An index has a key of another type.
    IndexKey,
    TooLarge,
    Denied,
    Busy,
    /// Anything else, or no answer.
    Other,
}

/// Why there is no answer. It shows the reason as it is.
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

/// What DynamoDB answered.
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

/// `action` on `table` failed.
pub(super) fn failed<E, R>(action: &str, table: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
    SdkError<E, R>: RequestId,
{
    // That there are no credentials is told as it is.
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
    // What is wrong with a request is told by quoting it.
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
        "ResourceNotFoundException" => Trouble::Missing,
        code if DENIED.contains(&code) => Trouble::Denied,
        code if BUSY.contains(&code) => Trouble::Busy,
        _ => {
            let is_told = |(text, _): &&(&str, _)| message.starts_with(text);
            HARMLESS.iter().find(is_told).map_or(Trouble::Other, |(_, trouble)| *trouble)
        }
    }
}

/// What was wrong with a call, of an error made by [`failed`]; `None` of any other.
pub(super) fn trouble(error: &Error) -> Option<Trouble> {
    let source = error.source()?;
    let told = source.downcast_ref::<Answer>().map(|answer| answer.trouble);
    told.or_else(|| source.is::<Silence>().then_some(Trouble::Other))
}

/// AWS's code of the error, as `ResourceNotFoundException`.
pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error()?.code()
}
