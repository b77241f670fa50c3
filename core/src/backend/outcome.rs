//! The outcomes of records: delivered or failed, and refused or rejected before.

use alloc::vec::Vec;

use super::Failure;
use crate::SlotId;

/// The place of a delivered record in the log.
///
/// ```
/// use aioproducer_core::backend::Delivered;
///
/// let delivered = Delivered::new(3, Some(41), None);
/// assert_eq!((delivered.partition, delivered.offset(), delivered.timestamp()), (3, Some(41), None));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivered {
    /// The partition.
    pub partition: i32,
    /// -1 for none, and so is the timestamp: it passes through every delivery, where size counts.
    offset: i64,
    timestamp: i64,
}

impl Delivered {
    /// At `offset` of `partition`, `None` if the broker did not say (`acks=0`); `timestamp` in milliseconds since the Unix
    /// epoch, `None` if it is not known. Neither is ever negative.
    #[inline]
    #[must_use]
    pub const fn new(partition: i32, offset: Option<i64>, timestamp: Option<i64>) -> Self {
        Self { partition, offset: compact(offset), timestamp: compact(timestamp) }
    }

    /// The record's offset in the partition, `None` if the broker did not say (`acks=0`).
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> Option<i64> {
        from_compact(self.offset)
    }

    /// Milliseconds since the Unix epoch: creation or log-append time, as the topic is configured. `None` if unknown.
    #[inline]
    #[must_use]
    pub const fn timestamp(&self) -> Option<i64> {
        from_compact(self.timestamp)
    }
}

const fn compact(value: Option<i64>) -> i64 {
    match value {
        Some(value) if value >= 0 => value,
        _ => -1,
    }
}

const fn from_compact(value: i64) -> Option<i64> {
    if value >= 0 { Some(value) } else { None }
}

/// A backend's copy of a [short](super::Message::is_short) record.
///
/// ```
/// use aioproducer_core::backend::Copied;
///
/// let copied = Copied { key: Some(b"customer-7".to_vec()), payload: Some(b"two apples".to_vec()), urgent: false, placed: false };
/// assert_eq!(copied.payload.as_deref(), Some(&b"two apples"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// Whether it is [urgent](crate::Record::is_urgent).
    pub urgent: bool,
    /// Whether it is [placed](crate::Record::is_placed).
    pub placed: bool,
}

/// The outcome of a record; each record has exactly one.
///
/// ```
/// use aioproducer_core::backend::{Delivered, Outcome};
///
/// let outcome: Outcome<&str> = Outcome::Delivered(Delivered::new(0, Some(41), None));
/// assert!(matches!(outcome, Outcome::Delivered(delivered) if delivered.offset() == Some(41)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// The record is in the log.
    Delivered(Delivered),
    /// The record failed and is given back.
    Failed(Failure, R),
    /// The record failed after it was released; the backend's copy is given back.
    FailedCopy(Failure, Copied),
}

/// A delivery report.
///
/// ```
/// use aioproducer_core::SlotId;
/// use aioproducer_core::backend::{Delivered, Outcome, Report};
///
/// fn delivered<R>(slot: SlotId, offset: i64) -> Report<R> {
///     Report { slot, outcome: Outcome::Delivered(Delivered::new(0, Some(offset), None)) }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<R> {
    /// The record's slot, from [`Driver::take`](super::Driver::take).
    pub slot: SlotId,
    /// The record's outcome.
    pub outcome: Outcome<R>,
}

/// A record of a settled batch that is not in the backend's queue.
///
/// ```
/// use aioproducer_core::SlotId;
/// use aioproducer_core::backend::Unsent;
///
/// /// Of a batch for whose rest the queue has no space.
/// fn refused<R>(rest: Vec<(SlotId, R)>) -> impl Iterator<Item = Unsent<R>> {
///     rest.into_iter().map(|(slot, record)| Unsent::Refused(slot, record))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent<R> {
    /// The queue is full: the record waits, and is offered again before newer records of its lane.
    Refused(SlotId, R),
    /// The record can never be sent. Other records of the batch are not affected.
    Rejected(SlotId, Failure, R),
}
