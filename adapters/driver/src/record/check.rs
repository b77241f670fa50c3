//! What no broker takes.

use std::error::Error;
use std::fmt;

use super::Record;

impl Record<'_> {
    /// Refuses what no broker takes. The topic's name is checked when it is interned.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let harmless = self.partition >= 0 && self.timestamp >= 0 && self.headers.is_empty();
        if harmless { Ok(()) } else { self.check_parts() }
    }

    fn check_parts(&self) -> Result<(), RecordError> {
        if self.has_partition && self.partition < 0 {
            return Err(RecordError::NegativePartition { partition: self.partition });
        }
        if self.has_timestamp && self.timestamp < 0 {
            return Err(RecordError::NegativeTimestamp { millis: self.timestamp });
        }
        for (index, header) in self.headers().iter().enumerate() {
            if let Some(at) = header.name().find('\0') {
                return Err(RecordError::NulInHeaderName { index, name: header.name().to_owned(), at });
            }
        }
        Ok(())
    }
}

/// Which part of a record is invalid, and why.
///
/// ```
/// # use aioproducer_driver::{AioProducer, ProduceError, Record, error::RecordError};
/// fn is_rejected(producer: &AioProducer) -> bool {
///     let outcome = producer.try_produce(Record::to("orders").partition(-3));
///     matches!(outcome, Err(ProduceError::Invalid { error: RecordError::NegativePartition { partition: -3 }, .. }))
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The partition is negative.
    NegativePartition {
        /// The partition.
        partition: i32,
    },
    /// The timestamp is before the Unix epoch.
    NegativeTimestamp {
        /// The timestamp in milliseconds.
        millis: i64,
    },
    /// A header's name has a NUL character.
    NulInHeaderName {
        /// The header's place among the headers.
        index: usize,
        /// Its name.
        name: String,
        /// The place of the first NUL in the name, in bytes.
        at: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NegativePartition { partition } => write!(f, "the partition {partition} is negative"),
            Self::NegativeTimestamp { millis } => write!(f, "the timestamp {millis} ms is negative"),
            Self::NulInHeaderName { index, name, at } => {
                write!(f, "the name of header {index}, {name:?}, has a NUL at byte {at}")
            }
        }
    }
}

impl Error for RecordError {}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_no_broker_takes_is_refused_by_name() {
        assert_eq!(Record::to("t").partition(0).timestamp_millis(0).header("h", "\0").check(), Ok(()));
        let negative = Record::to("t").partition(-1).check();
        assert_eq!(negative, Err(RecordError::NegativePartition { partition: -1 }));
        let early = Record::to("t").timestamp_millis(-5).check();
        assert_eq!(early, Err(RecordError::NegativeTimestamp { millis: -5 }));
        let earlier = Record::to("t").timestamp(SystemTime::UNIX_EPOCH - Duration::from_micros(1)).check();
        assert_eq!(earlier, Err(RecordError::NegativeTimestamp { millis: -1 }));
        let error = Record::to("t").header("fine", "").null_header("a\0b").check().unwrap_err();
        assert_eq!(error, RecordError::NulInHeaderName { index: 1, name: "a\0b".into(), at: 1 });
        assert_eq!(error.to_string(), "the name of header 1, \"a\\0b\", has a NUL at byte 1");
    }
}
