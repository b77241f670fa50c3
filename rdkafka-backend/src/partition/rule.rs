//! The application's own partitioning rule.

use std::fmt;

/// A record that needs a partition.
///
/// ```
/// use aioproducer_rdkafka::{Partitioner, ToPartition};
///
/// /// Large records go to the last partition, all others to the partition of their first byte.
/// fn by_size(record: ToPartition<'_>) -> i32 {
///     match record.value {
///         Some(value) if value.len() > 100_000 => record.partitions - 1,
///         _ => i32::from(record.key.first().copied().unwrap_or(0)) % record.partitions,
///     }
/// }
/// let partitioner = Partitioner::custom(by_size);
/// # let _ = partitioner;
/// ```
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct ToPartition<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The key; it may be empty.
    pub key: &'a [u8],
    /// The value; `None` if it is null, or if the rule [does not read it](Partition::reads_value).
    pub value: Option<&'a [u8]>,
    /// The topic's number of partitions, at least 1.
    pub partitions: i32,
}

/// Shows the lengths of key and value, not their contents.
impl fmt::Debug for ToPartition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToPartition")
            .field("topic", &self.topic)
            .field("key", &format_args!("{} bytes", self.key.len()))
            .field("value", &self.value.map(<[u8]>::len))
            .field("partitions", &self.partitions)
            .finish()
    }
}

/// An application's own rule for records with a key. Closures implement it;
/// [`Partitioner::custom`](crate::Partitioner::custom) takes one.
///
/// ```
/// use std::sync::Arc;
///
/// use aioproducer_rdkafka::{Partition, Partitioner, ToPartition};
///
/// /// Partitions by the first byte of the key.
/// struct FirstByte;
///
/// impl Partition for FirstByte {
///     fn partition(&self, record: ToPartition<'_>) -> i32 {
///         i32::from(record.key.first().copied().unwrap_or(0)) % record.partitions
///     }
///
///     fn reads_value(&self) -> bool {
///         false
///     }
/// }
/// let partitioner = Partitioner::Custom(Arc::new(FirstByte));
/// # let _ = partitioner;
/// ```
pub trait Partition: Send + Sync {
    /// The partition of `record`: from 0 to `record.partitions - 1`.
    ///
    /// It is called on the thread that produces, before the record is accepted. While the number of partitions is unknown, it is
    /// called later: on a worker thread, or on a thread of librdkafka that holds the topic's lock. It may be called again for
    /// the same record. It must be quick and must not block. If it panics or returns a number out of range, the record fails
    /// with [`UnknownPartition`](aioproducer_core::backend::FailureKind::UnknownPartition).
    fn partition(&self, record: ToPartition<'_>) -> i32;

    /// Whether the rule reads [`ToPartition::value`]. It is asked once per topic. Return false if it does not: short records
    /// may then be copied, which is cheaper. A rule that reads values keeps every record in its place.
    fn reads_value(&self) -> bool {
        true
    }
}

impl<F: Fn(ToPartition<'_>) -> i32 + Send + Sync> Partition for F {
    fn partition(&self, record: ToPartition<'_>) -> i32 {
        self(record)
    }
}
