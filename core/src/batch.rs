//! `MessageBatch`: one hand-off, immutable once it is cut.

use core::fmt;

use crate::Lane;
use crate::slot::NIL;

/// How large a batch may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records in a batch, at least 1.
    pub records: u32,
    /// Bytes in a batch. A single record above it goes in a batch of its own.
    pub bytes: usize,
}

/// Why a batch was cut when it was.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutReason {
    /// There is no linger, and a worker was free.
    Idle,
    /// The lane held as many records as a batch may have.
    Count,
    /// The lane held as many bytes as a batch may have.
    Bytes,
    /// The linger of the lane's oldest record was over.
    Linger,
    /// A flush or a close asked for it, or an urgent record.
    Flush,
}

/// Why [`MessageBatch::create`] refused a batch.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchError {
    /// There is no record in it.
    Empty,
    /// A record belongs to another lane.
    MixedLanes {
        /// The lane of the batch.
        batch: Lane,
        /// The lane of the record that does not fit.
        record: Lane,
    },
    /// More records than the limit.
    TooManyRecords {
        /// The limit.
        limit: u32,
    },
    /// More bytes than the limit, in more than one record.
    TooManyBytes {
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the batch is empty; it needs at least one record"),
            Self::MixedLanes { batch, record } => write!(
                f,
                "a record of topic {} partition {:?} is in a batch of topic {} partition {:?}; a batch has records of one lane",
                record.topic().0,
                record.partition(),
                batch.topic().0,
                batch.partition()
            ),
            Self::TooManyRecords { limit } => write!(f, "the batch has more than {limit} records, the limit"),
            Self::TooManyBytes { limit } => {
                write!(f, "the batch has more than {limit} bytes, the limit for more than one record")
            }
        }
    }
}

impl core::error::Error for BatchError {}

/// What the machine must know later about a batch that it cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its number among the machine's batches, from 1; 0 for a batch made elsewhere.
    pub(crate) number: u64,
    /// The lane's row.
    pub(crate) row: u32,
    /// The backend had no record when it was cut.
    pub(crate) alone: bool,
    /// The sequence of its first record.
    pub(crate) first: u64,
}

impl Origin {
    const NONE: Self = Self { number: 0, row: NIL, alone: false, first: 0 };
}

/// One hand-off: consecutive records of one lane. It is immutable.
///
/// The records themselves are passed beside it, by value, to the caller that asked for the batch.
///
/// ```
/// use aioproducer_core::{BatchError, BatchLimits, CutReason, Lane, MessageBatch, TopicId};
///
/// let limits = BatchLimits { records: 2, bytes: 100 };
/// let lane = Lane::new(TopicId(1), None);
/// let batch = MessageBatch::create(limits, lane, CutReason::Count, [(lane, 10), (lane, 20)])?;
/// assert_eq!((batch.len(), batch.bytes()), (2, 30));
///
/// let refused = MessageBatch::create(limits, lane, CutReason::Count, []);
/// assert_eq!(refused, Err(BatchError::Empty));
/// # Ok::<(), BatchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageBatch {
    origin: Origin,
    lane: Lane,
    reason: CutReason,
    len: u32,
    bytes: usize,
}

impl MessageBatch {
    /// Makes a batch of records, each given as its lane and its size in bytes.
    ///
    /// # Errors
    /// [`BatchError`] for no record, a record of another lane, or more than `limits` allow.
    pub fn create(
        limits: BatchLimits,
        lane: Lane,
        reason: CutReason,
        records: impl IntoIterator<Item = (Lane, usize)>,
    ) -> Result<Self, BatchError> {
        let mut batch = Self::begin(Origin::NONE, lane, reason);
        for (record, size) in records {
            batch.add(limits, record, size)?;
        }
        if batch.len == 0 { Err(BatchError::Empty) } else { Ok(batch) }
    }

    /// An empty batch, for the machine, which adds records while it moves them.
    pub(crate) const fn begin(origin: Origin, lane: Lane, reason: CutReason) -> Self {
        Self { origin, lane, reason, len: 0, bytes: 0 }
    }

    pub(crate) const fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn add(&mut self, limits: BatchLimits, record: Lane, size: usize) -> Result<(), BatchError> {
        if record != self.lane {
            return Err(BatchError::MixedLanes { batch: self.lane, record });
        }
        if self.len >= limits.records {
            return Err(BatchError::TooManyRecords { limit: limits.records });
        }
        let bytes = self.bytes.saturating_add(size);
        if self.len > 0 && bytes > limits.bytes {
            return Err(BatchError::TooManyBytes { limit: limits.bytes });
        }
        self.len += 1;
        self.bytes = bytes;
        Ok(())
    }

    /// Topic and partition of all its records.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Why it was cut.
    #[must_use]
    pub const fn reason(&self) -> CutReason {
        self.reason
    }

    /// The number of records, at least 1.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Always false: there is no empty batch.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The bytes of its records together.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}
