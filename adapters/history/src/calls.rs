//! What a test asks of a producer: records, and calls that are about many records.

use std::time::Duration;

use crate::handles::TransactionHandle;
use crate::payload::Payload;

/// A call that produces a record: what the caller knows before it has an answer.
///
/// ```
/// use aioproducer_history::{History, ProduceCall};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// let call = ProduceCall::new(55, "orders").key("customer-7").payload("order 55").timeout(Duration::from_secs(5));
/// let record = history.produce(Duration::ZERO, call);
/// history.accepted(record);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "it is for `History::produce`"]
pub struct ProduceCall<'a> {
    pub(crate) id: u64,
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<Payload<'a>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) transaction: Option<TransactionHandle>,
}

impl<'a> ProduceCall<'a> {
    /// A record by its id, by which the log's reader finds it again: a number in its payload or in a header, for instance.
    ///
    /// An id belongs to one call of a topic, if possible. Several calls may have it, if an application produces a record again. Then
    /// the checks count: the log may have as many copies as there are calls whose record may be in it.
    pub fn new(id: u64, topic: &'a str) -> Self {
        Self { id, topic, partition: None, key: None, payload: None, timeout: None, transaction: None }
    }

    /// The partition that the record names. Records of a partition stay in the order of their calls.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The record's key. Records of a key that name no partition stay in the order of their calls.
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// The payload. Without it, no bytes are compared, and findings show the id.
    pub fn payload(mut self, payload: impl Into<Payload<'a>>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// The record's own timeout, instead of the history's delivery timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The transaction that the record is part of.
    pub fn transaction(mut self, transaction: TransactionHandle) -> Self {
        self.transaction = Some(transaction);
        self
    }
}

/// A call that is over when all records that it is about have their outcome.
///
/// ```
/// use aioproducer_history::{History, Operation};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// let flush = history.begin(Duration::from_millis(3), Operation::FlushTopic("orders"));
/// history.returned(flush, Duration::from_millis(8));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A flush of all records that were accepted before it.
    Flush,
    /// A flush of a topic.
    FlushTopic(&'a str),
    /// A flush of the records that name this partition of a topic.
    FlushPartition(&'a str, i32),
    /// A purge of all records that were accepted before it, sent or not.
    Purge,
    /// The close of the producer: of all records that were accepted before its end.
    Close,
}
