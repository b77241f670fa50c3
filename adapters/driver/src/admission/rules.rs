//! What every record must fulfil to be accepted, whatever the state of the pool.

use aioproducer_core::TopicId;

use super::error::ProduceError;
use crate::observe::Observer;
use crate::record::Record;
use crate::record::topics::Topics;

/// The limits that a producer has for its records.
pub(crate) struct Rules {
    /// The most bytes of a record: the backend's limit, less `record_overhead`.
    pub(crate) record_bytes: usize,
    /// Bytes that the backend counts beside those of the record.
    pub(crate) record_overhead: usize,
    /// The backend's setting that has the limit.
    pub(crate) record_setting: Option<&'static str>,
    /// What a record may count for in the pool, in bytes.
    pub(crate) pool_bytes: usize,
    /// Records are written in transactions only.
    pub(crate) transactional: bool,
}

impl Rules {
    /// The topic of a record that may be accepted, and what it counts for in the pool; `None` if it never can be.
    /// `transaction` says whether it comes through a transaction.
    #[inline(always)]
    pub(crate) fn check(
        &self,
        topics: &Topics,
        observer: &Observer,
        record: &mut Record<'_>,
        transaction: bool,
    ) -> Option<(TopicId, usize)> {
        if transaction != self.transactional {
            return None;
        }
        let topic = topics.resolve(record.topic_ref()).ok()?;
        record.check().ok()?;
        observer.spans.begin(record);
        let (written, cost) = (record.written_size(), record.cost());
        (written <= self.record_bytes && cost <= self.pool_bytes).then_some((topic, cost))
    }

    /// Why [`Rules::check`] rejects a record. It is apart since it is rare.
    #[cold]
    pub(crate) fn refusal<'a>(
        &self,
        topics: &Topics,
        record: &mut Record<'a>,
        transaction: bool,
    ) -> Box<ProduceError<'a>> {
        let (size, written, cost) = (record.size(), record.written_size(), record.cost());
        let trace = std::mem::take(&mut record.trace);
        let error = Box::new(if transaction != self.transactional {
            ProduceError::OutsideTransaction(record.take())
        } else if let Err(error) = topics.resolve(record.topic_ref()) {
            ProduceError::Topic { record: record.take(), error }
        } else if let Err(error) = record.check() {
            ProduceError::Invalid { record: record.take(), error }
        } else if written > self.record_bytes {
            let limit = self.record_bytes + self.record_overhead;
            let overhead = written - size + self.record_overhead;
            ProduceError::TooLarge { record: record.take(), size, overhead, limit, setting: self.record_setting }
        } else {
            ProduceError::AbovePool { record: record.take(), cost, limit: self.pool_bytes }
        });
        trace.refused(error.error_type(), &error);
        error
    }
}

impl ProduceError<'_> {
    /// The value of `error.type` in spans.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::AbovePool { .. } => "too_large",
            Self::TimedOut(_) => "timed_out",
            Self::Closed(_) | Self::RuntimeEnded(_) => "closed",
            Self::Fatal { .. } => "fatal",
            Self::OutsideTransaction(_) | Self::TransactionOver(_) | Self::ReportsDropped(_) => "state",
            Self::Full(_) => "pool_full",
            Self::PartitionFull { .. } => "partition_full",
            Self::Topic { .. } | Self::Invalid { .. } => "invalid",
        }
    }
}
