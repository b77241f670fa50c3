//! What brokers keep: the log of each partition, and what they know of its producers. Nothing here knows time, brokers or faults.

mod partition;
mod record;

pub(crate) use self::partition::{PartitionLog, Sequence};
pub use self::record::LogRecord;
pub(crate) use self::record::RECORD_OVERHEAD;
