//! What a test did with one producer, and what the producer said.

use std::ops::Range;
use std::time::Duration;

use aioproducer_core::backend::Status;

use crate::calls::{Operation, ProduceCall};
use crate::handles::{OperationHandle, RecordHandle, TransactionHandle};
use crate::payload::{Payload, Texts, hash};
use crate::topics::Topics;

/// A time, and the place among all events of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) event: u64,
    /// Nanoseconds since the beginning of the test.
    pub(crate) at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered { partition: i32, offset: Option<i64> },
    Failed(Status),
    Refused,
    Retracted,
    Dropped,
}

/// A record, from its call to its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) topic: u32,
    pub(crate) partition: Option<i32>,
    /// The key's hash.
    pub(crate) key: Option<u64>,
    pub(crate) payload: Option<u64>,
    pub(crate) text: Range<usize>,
    /// Its own, in nanoseconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) transaction: Option<TransactionHandle>,
    pub(crate) called: Moment,
    /// The event.
    pub(crate) accepted: Option<u64>,
    pub(crate) outcome: Option<(Outcome, Moment)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionEnd {
    /// It has none.
    Open,
    Committed,
    Aborted,
    InDoubt,
}

/// The records that an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    All,
    Topic(u32),
    Partition(u32, i32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationRow {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    pub(crate) is_close: bool,
    pub(crate) called: Moment,
    pub(crate) returned: Option<Moment>,
}

/// What a test did with one producer and all its clones, and what the producer said: the one side that [`check`](crate::check)
/// compares, with the [`Log`](crate::Log) as the other.
///
/// Its methods are called in the order in which things happen, from behind a lock if several tasks note what they do. `produce` and
/// `begin` come before the call that they note; `accepted`, `returned` and the outcomes come after. Times are counted from the beginning
/// of the test, of a real clock or a virtual one. Their order decides how long something took, and the order of the calls decides what
/// came before what.
///
/// A second producer has a history of its own. Records in the log that a history does not know are counted, and no finding.
///
/// ```
/// use aioproducer_history::{History, Log, LogEntry, ProduceCall, check};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let mut history = History::new().delivery_timeout(ms(1_000));
/// let record = history.produce(ms(0), ProduceCall::new(55, "orders").payload("order 55"));
/// history.accepted(record);
/// history.delivered(record, ms(4), 2, 17);
///
/// let mut log = Log::new();
/// log.push("orders", 2, 17, LogEntry::record(55).payload("order 55"));
/// assert!(check(&history, &log).is_right());
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Nanoseconds, like the tick.
    pub(crate) delivery_timeout: Option<u64>,
    pub(crate) tick: u64,
    pub(crate) topics: Topics,
    pub(crate) rows: Vec<Row>,
    pub(crate) texts: Texts,
    /// Outcomes of records that had one.
    pub(crate) more_outcomes: Vec<(RecordHandle, Outcome)>,
    /// The hashes of payloads that came back.
    pub(crate) handed_back: Vec<(RecordHandle, u64)>,
    pub(crate) transactions: Vec<TransactionEnd>,
    pub(crate) operations: Vec<OperationRow>,
    /// When so many slots were in use.
    pub(crate) slots: Vec<(Moment, usize)>,
    events: u64,
}

impl History {
    /// An empty history: no delivery timeout, and a tick of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The producer's delivery timeout. Without one, and without timeouts of records, nothing is too late.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = Some(nanos(timeout));
        self
    }

    /// How much later than it happens something may be noted: the granularity of the timers, and the time that tasks wait until they
    /// run. Zero, which is the default, is right for virtual time alone.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = nanos(tick);
        self
    }

    /// A record is going to be produced.
    ///
    /// # Panics
    ///
    /// If there are 2³² records.
    pub fn produce(&mut self, at: Duration, call: ProduceCall<'_>) -> RecordHandle {
        let handle = RecordHandle(u32::try_from(self.rows.len()).expect("a history has less than 2^32 records"));
        let text = self.texts.keep(call.payload.unwrap_or(Payload::Null));
        let row = Row {
            id: call.id,
            topic: self.topics.number(call.topic),
            partition: call.partition,
            key: call.key.map(hash),
            payload: call.payload.map(Payload::hash),
            text,
            timeout: call.timeout.map(nanos),
            transaction: call.transaction,
            called: self.moment(at),
            accepted: None,
            outcome: None,
        };
        self.rows.push(row);
        handle
    }

    /// The call has returned, and the producer has accepted the record. Flushes and the order of records are checked of accepted
    /// records; a record that has an outcome and was not noted as accepted counts as accepted by then.
    pub fn accepted(&mut self, record: RecordHandle) {
        let event = self.event();
        self.row(record).accepted = Some(event);
    }

    /// The record was delivered to `partition`, at `offset` if the broker sent one.
    pub fn delivered(&mut self, record: RecordHandle, at: Duration, partition: i32, offset: impl Into<Option<i64>>) {
        self.end(record, at, Outcome::Delivered { partition, offset: offset.into() });
    }

    /// The record was accepted and has failed, and this is what the producer says of it.
    pub fn failed(&mut self, record: RecordHandle, at: Duration, status: Status) {
        self.end(record, at, Outcome::Failed(status));
    }

    /// The call failed, or was dropped before it returned: the record was not accepted, and is never in the log.
    pub fn refused(&mut self, record: RecordHandle, at: Duration) {
        self.end(record, at, Outcome::Refused);
    }

    /// The record was taken back before it was sent: it is never in the log.
    pub fn retracted(&mut self, record: RecordHandle, at: Duration) {
        self.end(record, at, Outcome::Retracted);
    }

    /// The caller has given up waiting for the outcome, so that nothing is known of it. The record may be in the log, once.
    pub fn dropped(&mut self, record: RecordHandle, at: Duration) {
        self.end(record, at, Outcome::Dropped);
    }

    /// The record came back with its error, from a retraction or from a close, with this payload.
    pub fn handed_back<'a>(&mut self, record: RecordHandle, payload: impl Into<Payload<'a>>) {
        self.handed_back.push((record, payload.into().hash()));
    }

    /// A transaction was begun. Until it ends it counts as one that the application did not ask to commit.
    pub fn begin_transaction(&mut self) -> TransactionHandle {
        self.transactions.push(TransactionEnd::Open);
        TransactionHandle(self.transactions.len() as u32 - 1)
    }

    /// The transaction was committed.
    pub fn committed(&mut self, transaction: TransactionHandle) {
        self.transactions[transaction.index()] = TransactionEnd::Committed;
    }

    /// The transaction was aborted.
    pub fn aborted(&mut self, transaction: TransactionHandle) {
        self.transactions[transaction.index()] = TransactionEnd::Aborted;
    }

    /// The outcome of the commit is unknown. A later `committed` or `aborted` takes its place.
    pub fn in_doubt(&mut self, transaction: TransactionHandle) {
        self.transactions[transaction.index()] = TransactionEnd::InDoubt;
    }

    /// A flush, purge or close is going to be called.
    pub fn begin(&mut self, at: Duration, operation: Operation<'_>) -> OperationHandle {
        let (name, scope) = match operation {
            Operation::Flush => ("flush", Scope::All),
            Operation::FlushTopic(topic) => ("flush", Scope::Topic(self.topics.number(topic))),
            Operation::FlushPartition(topic, partition) => {
                ("flush", Scope::Partition(self.topics.number(topic), partition))
            }
            Operation::Purge => ("purge", Scope::All),
            Operation::Close => ("close", Scope::All),
        };
        let is_close = operation == Operation::Close;
        let called = self.moment(at);
        self.operations.push(OperationRow { name, scope, is_close, called, returned: None });
        OperationHandle(self.operations.len() as u32 - 1)
    }

    /// The call has returned, and says that it is complete. One that timed out, failed or was dropped says nothing of records, and is
    /// not noted.
    pub fn returned(&mut self, operation: OperationHandle, at: Duration) {
        let returned = self.moment(at);
        self.operations[operation.index()].returned = Some(returned);
    }

    /// The producer's statistics said that so many slots were in use. `at` is from before they were asked for.
    pub fn slots_in_use(&mut self, at: Duration, slots: usize) {
        let moment = self.moment(at);
        self.slots.push((moment, slots));
    }

    /// The topic and the id of each call, in their order.
    pub fn ids(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rows.iter().map(|row| (&**self.topics.name(row.topic), row.id))
    }

    /// How many records were called for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no record was called for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn end(&mut self, record: RecordHandle, at: Duration, outcome: Outcome) {
        let moment = self.moment(at);
        let row = self.row(record);
        if row.outcome.is_some() {
            self.more_outcomes.push((record, outcome));
        } else {
            row.outcome = Some((outcome, moment));
        }
    }

    fn row(&mut self, record: RecordHandle) -> &mut Row {
        &mut self.rows[record.index()]
    }

    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn moment(&mut self, at: Duration) -> Moment {
        Moment { event: self.event(), at: nanos(at) }
    }
}

impl Row {
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.map(|(outcome, _)| outcome)
    }

    /// The event at which it was accepted at the latest, if it was.
    pub(crate) fn accepted_by(&self) -> Option<u64> {
        match (self.accepted, self.outcome) {
            (Some(event), _) => Some(event),
            (None, Some((Outcome::Refused, _)) | None) => None,
            (None, Some((_, moment))) => Some(moment.event),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
