//! Timestamps in Jovo's format: RFC 3339 in UTC with milliseconds, `2021-06-30T05:50:04.034Z`.

use std::time::SystemTime;

use jiff::Timestamp;

/// A source of the current time.
pub(crate) type Clock = dyn Fn() -> SystemTime + Send + Sync;

pub(crate) fn format(time: SystemTime) -> String {
    // Only a clock beyond the year 9999 is out of range.
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    format!("{timestamp:.3}")
}

pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}
