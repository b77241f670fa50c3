//! What the machine asks of a record: where it goes and how large it is.

use core::time::Duration;

/// A topic, by the number that its owner gave it. The machine knows no topic names.
///
/// ```
/// use aioproducer_core::TopicId;
///
/// assert_ne!(TopicId(0), TopicId(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// Where records keep their order: a topic and, if it is known, a partition.
///
/// Records that may go to any partition share one lane of their topic; the backend chooses their partitions. A keyed record has the
/// lane of its partition, or, while the number of partitions is not known, a lane of its topic for those that are
/// [not placed](Lane::unplaced). So equal keys keep their order.
///
/// ```
/// use aioproducer_core::{Lane, TopicId};
///
/// let (keyed, third) = (Lane::new(TopicId(0), None), Lane::new(TopicId(0), Some(3)));
/// assert_eq!((keyed.partition(), third.partition()), (None, Some(3)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    topic: TopicId,
    partition: i32,
}

impl Lane {
    const UNASSIGNED: i32 = -1;
    const UNPLACED: i32 = -2;

    /// The lane of `topic` and `partition`. A negative partition means none, as everywhere in Kafka.
    #[must_use]
    pub const fn new(topic: TopicId, partition: Option<i32>) -> Self {
        let partition = match partition {
            Some(partition) if partition >= 0 => partition,
            _ => Self::UNASSIGNED,
        };
        Self { topic, partition }
    }

    /// The lane of records of `topic` that name no partition, and were produced before the number of partitions was known. They keep
    /// their order. Later ones that name none stay behind them, in the lanes of their partitions, until the last of them is handed off.
    #[must_use]
    pub const fn unplaced(topic: TopicId) -> Self {
        Self { topic, partition: Self::UNPLACED }
    }

    /// Whether the partitions of its records are not known yet.
    #[inline]
    #[must_use]
    pub const fn is_unplaced(self) -> bool {
        self.partition == Self::UNPLACED
    }

    /// The topic.
    #[must_use]
    pub const fn topic(self) -> TopicId {
        self.topic
    }

    /// The partition, `None` if it is still to be chosen.
    #[must_use]
    pub const fn partition(self) -> Option<i32> {
        if self.partition < 0 { None } else { Some(self.partition) }
    }

    /// The topic, spread over all numbers (Fibonacci hashing), plus the partition: partitions of a topic are neighbours.
    pub(crate) const fn hash(self) -> u32 {
        let topic = self.topic.0.wrapping_mul(0x9E37_79B9).rotate_left(16);
        topic.wrapping_add(self.partition as u32)
    }
}

/// What the machine reads of a record. The answers must not change while the machine owns the record.
///
/// ```
/// use aioproducer_core::{Lane, Record, TopicId};
///
/// struct Reading(u32);
///
/// impl Record for Reading {
///     fn lane(&self) -> Lane {
///         Lane::new(TopicId(0), None)
///     }
///     fn size(&self) -> usize {
///         core::mem::size_of::<u32>()
///     }
/// }
/// assert_eq!(Reading(7).size(), 4);
/// ```
pub trait Record {
    /// The lane whose order this record keeps.
    fn lane(&self) -> Lane;

    /// Its bytes: key, value and headers. Batches and the largest record are measured by them.
    fn size(&self) -> usize;

    /// The bytes beyond its size that it counts for in the pool: parts of it are kept twice, or in small allocations.
    #[inline]
    fn overhead(&self) -> u32 {
        0
    }

    /// Whether the partition of its lane was chosen by its key, and not by its caller.
    #[inline]
    fn is_placed(&self) -> bool {
        false
    }

    /// Whether it must not linger: its lane, and so the records before it there, are handed off without delay.
    fn is_urgent(&self) -> bool {
        false
    }

    /// A timeout of its own: how long after produce it ends if it has no outcome by then, wherever it is. The shorter of
    /// this and [`Limits::delivery_timeout`](crate::Limits::delivery_timeout) counts.
    #[inline]
    fn timeout(&self) -> Option<Duration> {
        None
    }
}
