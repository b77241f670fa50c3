//! The machine's settings, checked at construction.

use core::fmt;
use core::time::Duration;

use crate::{BatchLimits, Overflow};

/// What a [`Producer`](crate::Producer) may hold and how it batches. Capacities in slots and lanes are the storage's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all records in the pool count for together (size and [overhead](crate::Record::overhead)), at least 1.
    pub pool_bytes: usize,
    /// Bytes of one record. Larger ones are refused at produce; and so is one above 4 GiB, whatever is set here.
    pub record_bytes: usize,
    /// Records in a batch, at least 1 and at most the slots of the pool.
    pub batch_records: u32,
    /// Bytes in a batch, at least 1 and at most `pool_bytes`. A single larger record goes alone.
    pub batch_bytes: usize,
    /// How long a lane's oldest record waits for more records. Zero means that a batch is cut as soon as an executor asks
    /// for one.
    pub linger: Duration,
    /// How long after produce a record ends that has no outcome, wherever it is; `None` for never.
    pub delivery_timeout: Option<Duration>,
    /// How long after such an end the report of a record that was handed off is overdue; `None` for never. See
    /// [`Stats::overdue`](crate::Stats::overdue).
    pub report_timeout: Option<Duration>,
    /// How lanes are kept from each other's records; `None` if they are not: each may use the whole pool, and all of it is handed
    /// off at once.
    pub isolation: Option<Isolation>,
    /// What becomes of a record that finds the pool full. See [`Producer::admit`](crate::Producer::admit).
    pub overflow: Overflow,
}

/// How lanes are kept from each other's records.
///
/// ```
/// use aioproducer_core::{Isolation, Limits};
///
/// let limits = Limits { isolation: Some(Isolation::default()), ..Limits::default() };
/// # assert_eq!(limits.isolation.unwrap().window, 256);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// How long a lane may leave records at the backend without a report before it counts as
    /// [unavailable](crate::Producer::is_unavailable) (KIP-794).
    pub availability_timeout: Duration,
    /// How many records of a lane the backend may have before it has reported any, and at least; at least 1. For as long as it
    /// reports, it may have more and more.
    pub window: u32,
}

impl Default for Isolation {
    /// One second, and 256 records.
    fn default() -> Self {
        Self { availability_timeout: Duration::from_secs(1), window: 256 }
    }
}

impl Default for Limits {
    /// 32 MiB in the pool, records of up to 1,000,000 bytes, batches of 1,024 records or 1 MiB, no linger, expiry
    /// after two minutes (the default of KIP-91), no limit on the wait for reports, lanes that are not isolated, and records
    /// wait for room.
    fn default() -> Self {
        Self {
            pool_bytes: 32 << 20,
            record_bytes: 1_000_000,
            batch_records: 1024,
            batch_bytes: 1 << 20,
            linger: Duration::ZERO,
            delivery_timeout: Some(Duration::from_secs(120)),
            report_timeout: None,
            isolation: None,
            overflow: Overflow::Wait,
        }
    }
}

impl Limits {
    pub(crate) const fn batch(&self) -> BatchLimits {
        BatchLimits { records: self.batch_records, bytes: self.batch_bytes }
    }

    pub(crate) fn check(&self, slots: usize, lanes: usize) -> Result<(), LimitsError> {
        let too_many = |count: usize| u32::try_from(count).map_or(true, |count| count == u32::MAX);
        if slots == 0 {
            Err(LimitsError::NoSlots)
        } else if lanes == 0 {
            Err(LimitsError::NoLanes)
        } else if too_many(slots) || too_many(lanes) {
            Err(LimitsError::TooManySlots)
        } else if self.pool_bytes == 0 {
            Err(LimitsError::NoPoolBytes)
        } else if self.batch_records == 0 {
            Err(LimitsError::NoBatchRecords)
        } else if self.batch_bytes == 0 {
            Err(LimitsError::NoBatchBytes)
        } else if self.batch_records as usize > slots {
            Err(LimitsError::BatchRecordsAbovePool { batch: self.batch_records, pool: slots })
        } else if self.batch_bytes > self.pool_bytes {
            Err(LimitsError::BatchBytesAbovePool { batch: self.batch_bytes, pool: self.pool_bytes })
        } else if self.record_bytes > self.pool_bytes {
            Err(LimitsError::RecordAbovePool { record: self.record_bytes, pool: self.pool_bytes })
        } else {
            Ok(())
        }
    }
}

/// The invalid setting, and why it is invalid.
///
/// ```
/// use aioproducer_core::LimitsError;
///
/// let error = LimitsError::BatchRecordsAbovePool { batch: 1_024, pool: 100 };
/// assert!(error.to_string().starts_with("batch_records: 1024 is more than the 100 slots"));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitsError {
    /// A pool without a slot.
    NoSlots,
    /// No room for any lane.
    NoLanes,
    /// More slots or lanes than an index can name: at most 4,294,967,294.
    TooManySlots,
    /// There is no memory for so many slots or lanes.
    NoMemory {
        /// Slots of the pool.
        slots: usize,
        /// Lanes.
        lanes: usize,
    },
    /// `pool_bytes` is zero.
    NoPoolBytes,
    /// `batch_records` is zero.
    NoBatchRecords,
    /// `batch_bytes` is zero.
    NoBatchBytes,
    /// A batch of that many records never fits the pool.
    BatchRecordsAbovePool {
        /// `batch_records`.
        batch: u32,
        /// Slots of the pool.
        pool: usize,
    },
    /// A batch of that many bytes never fits the pool.
    BatchBytesAbovePool {
        /// `batch_bytes`.
        batch: usize,
        /// `pool_bytes`.
        pool: usize,
    },
    /// The largest record never fits the pool.
    RecordAbovePool {
        /// `record_bytes`.
        record: usize,
        /// `pool_bytes`.
        pool: usize,
    },
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlots => f.write_str("slots: a pool needs at least 1"),
            Self::NoLanes => f.write_str("lanes: at least 1 is needed"),
            Self::TooManySlots => f.write_str("slots, lanes: more than 4,294,967,294"),
            Self::NoMemory { slots, lanes } => {
                write!(f, "slots, lanes: there is no memory for {slots} slots and {lanes} lanes; set less")
            }
            Self::NoPoolBytes => f.write_str("pool_bytes: at least 1 is needed"),
            Self::NoBatchRecords => f.write_str("batch_records: at least 1 is needed"),
            Self::NoBatchBytes => f.write_str("batch_bytes: at least 1 is needed"),
            Self::BatchRecordsAbovePool { batch, pool } => {
                write!(f, "batch_records: {batch} is more than the {pool} slots of the pool; lower it, or raise slots")
            }
            Self::BatchBytesAbovePool { batch, pool } => {
                write!(f, "batch_bytes: {batch} is more than the pool's {pool} bytes; lower it, or raise pool_bytes")
            }
            Self::RecordAbovePool { record, pool } => {
                write!(
                    f,
                    "pool_bytes: {pool} is less than one record may have, {record} bytes; raise it, or lower that"
                )
            }
        }
    }
}

impl core::error::Error for LimitsError {}
