//! What the machine asks of a record: where it goes and how large it is.

/// A topic, as the number its owner gave it. The machine never sees a topic's name.
///
/// ```
/// use aioproducer_core::TopicId;
///
/// assert_ne!(TopicId(0), TopicId(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// Where records keep their order: a topic and, if the caller named one, a partition.
///
/// Records without a partition share one lane of their topic; whoever hands them off chooses the partition, record
/// by record and in lane order, so equal keys keep their order too.
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

    /// The lane of `topic` and `partition`. A negative partition means none, as everywhere in Kafka.
    #[must_use]
    pub const fn new(topic: TopicId, partition: Option<i32>) -> Self {
        let partition = match partition {
            Some(partition) if partition >= 0 => partition,
            _ => Self::UNASSIGNED,
        };
        Self { topic, partition }
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

    /// The topic spread over all numbers (Fibonacci hashing), and from there on its partitions, one after the other.
    pub(crate) const fn hash(self) -> u32 {
        let topic = (self.topic.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((topic >> 32) as u32).wrapping_add(self.partition as u32)
    }
}

/// A record as the machine sees it. Its answers must stay the same for as long as the machine owns the record.
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

    /// The bytes beyond its size that it counts for in the pool, since parts of it are kept twice or in small pieces.
    #[inline]
    fn overhead(&self) -> u32 {
        0
    }

    /// Whether it is not to wait for company: its lane, and so what came before it there, does not linger any more.
    fn is_urgent(&self) -> bool {
        false
    }
}
