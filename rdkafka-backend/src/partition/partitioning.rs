//! How partitions are chosen: the settings that all topics of a producer share.

use std::time::Duration;

use crate::partition::partitioner::Partitioner;

/// How partitions are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Partitioning {
    pub(crate) partitioner: Partitioner,
    /// Sticky records move to another partition after this time (librdkafka's `sticky.partitioning.linger.ms`, KIP-480),
    pub(crate) sticky_time: Duration,
    /// or when the partition has received this many bytes, a full batch (librdkafka's `batch.size`; as in KIP-794).
    pub(crate) sticky_bytes: usize,
    /// Sticky records prefer partitions with few records at librdkafka, and leave those that do not answer (KIP-794).
    pub(crate) adaptive: bool,
    /// So many records of a partition without an answer are many: it gets no more sticky ones while another has less than half of that.
    pub(crate) crowd: u32,
    /// How long a partition may leave records without an answer; `None` for any time.
    pub(crate) availability_timeout: Option<Duration>,
}

/// A pool with a part this small may be full of one partition's records before the first batch is handed off.
pub(super) const SMALL: u32 = 1024;

impl Partitioning {
    /// Whether it is not found out in time, if at all, that a partition holds others up.
    pub(super) fn splits_at_once(&self) -> bool {
        self.availability_timeout.is_some() && (!self.adaptive || self.crowd < SMALL)
    }
}
