//! Kafka's times, milliseconds since the Unix epoch, as the system's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Record;

impl Record<'_> {
    /// Sets the creation time; what is less than a millisecond is left out. Producing rejects a time before the Unix epoch.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// use aioproducer_driver::Record;
    ///
    /// let record = Record::to("readings").timestamp(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    /// assert_eq!(record.get_timestamp_millis(), Some(1_700_000_000_000));
    /// ```
    #[must_use]
    pub fn timestamp(self, time: impl Into<SystemTime>) -> Self {
        self.timestamp_millis(to_millis(time.into()))
    }

    /// The creation time, `None` for the time of sending.
    #[must_use]
    pub fn get_timestamp(&self) -> Option<SystemTime> {
        self.get_timestamp_millis().and_then(from_millis)
    }
}

/// Rounded down, so that a time before the epoch is negative.
fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            let millis = before.duration().as_nanos().div_ceil(1_000_000);
            i64::try_from(millis).map_or(i64::MIN, |millis| -millis)
        }
    }
}

/// `None` if the system's clock cannot represent it.
pub(crate) fn from_millis(millis: i64) -> Option<SystemTime> {
    let apart = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH.checked_sub(apart) } else { UNIX_EPOCH.checked_add(apart) }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn s08_times_are_milliseconds_there_and_back() {
        for millis in [0, 1, 1_700_000_000_123, -1, -1_700_000_000_123] {
            assert_eq!(from_millis(millis).map(to_millis), Some(millis));
        }
        assert_eq!(to_millis(UNIX_EPOCH + Duration::from_nanos(1_999_999)), 1);
        assert_eq!(to_millis(UNIX_EPOCH - Duration::from_nanos(1)), -1, "before the epoch, which is refused");
    }
}
