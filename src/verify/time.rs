//! Time stamps, and how old they may be.

use std::time::{Duration, SystemTime};

use super::refusal::Cause;

/// Checks that `stamp` is at most `age` old, and at most `ahead` in the future.
pub(super) fn check(
    stamp: SystemTime,
    now: SystemTime,
    age: Duration,
    ahead: Duration,
) -> Result<(), Cause> {
    match now.duration_since(stamp) {
        Ok(old) if old > age => Err(Cause::TooOld),
        Err(early) if early.duration() > ahead => Err(Cause::TooNew),
        _ => Ok(()),
    }
}

/// Returns the last moment at which `stamp` is not too old.
pub(super) fn end(stamp: SystemTime, age: Duration) -> SystemTime {
    // A tolerance without an end is held for a year.
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    stamp.checked_add(age.min(year)).unwrap_or(stamp)
}

/// Reads seconds since 1970, in digits only.
pub(super) fn from_unix(text: &str) -> Option<SystemTime> {
    // Twelve digits reach the year 33,658: `SystemTime` holds that on every platform.
    let is_number = (1..=12).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    let seconds = text.parse().ok().filter(|_| is_number)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_window_belong_to_it() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (age, ahead) = (Duration::from_secs(300), Duration::from_secs(60));
        for now in [1000, 1300, 940] {
            assert_eq!(check(at(1000), at(now), age, ahead), Ok(()), "{now}");
        }
        assert_eq!(check(at(1000), at(1301), age, ahead), Err(Cause::TooOld));
        assert_eq!(check(at(1000), at(939), age, ahead), Err(Cause::TooNew));
    }

    #[test]
    fn what_is_never_too_old_is_held_for_a_year() {
        let now = SystemTime::UNIX_EPOCH;
        let (minute, year) = (Duration::from_secs(60), Duration::from_secs(31_536_000));
        assert_eq!(end(now, minute), now + minute);
        assert_eq!(end(now, Duration::MAX), now + year);
    }

    #[test]
    fn only_digits_are_seconds() {
        let read = |text| -> Option<Duration> {
            from_unix(text)?.duration_since(SystemTime::UNIX_EPOCH).ok()
        };
        assert_eq!(read("1531420618"), Some(Duration::from_secs(1_531_420_618)));
        for other in ["", "+1", "-1", "1.5", " 1", "1e3", "1531420618000", "x"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
