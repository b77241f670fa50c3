//! The seam between the driver and a backend that does I/O on its own threads.
//!
//! A backend's threads **pull**: a free worker asks the [`Driver`] for a batch, and gets the records themselves.
//! While a backend works on a record it owns it, so whatever memory it lends to a C library is its own, and the borrow
//! checker, not a convention between crates, keeps it alive. The record's slot stays in the pool and counts until the
//! record's one outcome comes back, by [`Driver::settle`] or [`Driver::report`].
//!
//! ```text
//! driver                               backend
//!   Backend::wake ───────────────────▶ a worker wakes; for a record that is alone, the caller may do its work
//!   Driver::take ◀────────────────── worker asks; records move to it
//!   Driver::settle ◀──────────────── worker says what became of each record of the batch
//!   Driver::release ◀──────────────── delivered or copied records, to be used again
//!   Driver::report ◀───────────────── delivery reports, in bulk
//!   Backend::call ──────────────────▶ a thread that may wait makes the call
//!   Driver::answered ◀─────────────── what it came to
//!   Backend::shut_down ──────────────▶ purge, end the threads
//!   Driver::ended ◀────────────────── the last word
//! ```

mod calls;
mod code;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::time::Duration;

use crate::{MessageBatch, Record, SlotId, TopicId};

pub use calls::{
    Answer, Broker, Call, CallError, CallId, Credentials, Group, GroupOffset, Metadata, MetadataError,
    PartitionMetadata, Request, TopicMetadata,
};
pub use code::ErrorCode;

/// What a backend may read of a record.
///
/// `None` and empty are different, for keys and for payloads. Slices borrow from the record: they stay valid while the
/// record is not moved.
pub trait Message: Record + Send + Sync + 'static {
    /// The value, `None` for a tombstone.
    fn payload(&self) -> Option<&[u8]>;

    /// The key.
    fn key(&self) -> Option<&[u8]>;

    /// Creation time in milliseconds since the Unix epoch; `None` lets the backend stamp it.
    fn timestamp(&self) -> Option<i64>;

    /// How many headers there are.
    fn header_count(&self) -> usize;

    /// Header number `index` in order, duplicates kept: its name (no NUL byte) and its value, which may be null.
    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)>;

    /// The same record once more, sharing what it can: for its caller, when the end cannot wait for a library that still reads
    /// this one. `None` if there is no such thing.
    fn duplicate(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether there is nothing to the record but its lane, a key and a payload, which are short: a backend may copy it,
    /// [`Driver::release`] it right after its hand-off, and, should it fail, give back the copy ([`Outcome::FailedCopy`]).
    fn is_short(&self) -> bool {
        false
    }
}

/// Whether a failed record is in the log (`rd_kafka_message_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It was never sent, or the broker refused it: sending it again makes no duplicate.
    NotPersisted,
    /// It was sent and no answer came: it may be in the log.
    PossiblyPersisted,
    /// The broker wrote it, though the producer cannot report it as delivered.
    Persisted,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPersisted => "not in the log",
            Self::PossiblyPersisted => "possibly in the log",
            Self::Persisted => "in the log",
        })
    }
}

/// Why a record failed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The delivery timeout passed.
    TimedOut,
    /// Larger than the client or the broker accepts.
    TooLarge,
    /// The topic does not exist.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// Removed by a purge.
    Purged,
    /// Removed because the pool was full, as the producer was told to do then.
    Dropped,
    /// The producer was closed, dropped or cut off from its runtime before the record was delivered.
    Closed,
    /// The record alone exceeds what the backend may queue.
    QueueFull,
    /// The producer met an error that it cannot recover from.
    Fatal,
    /// The current (transaction) state does not allow it.
    State,
    /// The brokers refuse the login (SASL).
    Authentication,
    /// No secure connection can be made (TLS).
    Tls,
    /// The login lacks a right: to write to the topic, to be idempotent, to use the transactional id.
    NotAuthorized,
    /// Any other error of the broker or the client library; see [`Failure::code`].
    Broker,
}

/// A record's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// Whether the record is in the log.
    pub status: Status,
    /// The backend's own error number (librdkafka: `rd_kafka_resp_err_t`), 0 if there is none.
    pub code: i32,
    /// The backend's description of it.
    pub reason: &'static str,
}

/// What stands in the way of records for now. Records whose time passes meanwhile name it as their cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What records fail with whose time passes, if that says more than [`FailureKind::TimedOut`] does.
    pub kind: FailureKind,
    /// The cause in words, without secrets: which brokers are away, and what the last error was.
    pub reason: Arc<str>,
}

/// How much a message to the application's operator matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work as it should; the producer goes on by itself.
    Warning,
    /// Records fail, or will.
    Error,
}

/// Where a record ended up in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivered {
    /// The partition that was written.
    pub partition: i32,
    /// The record's offset in the partition, -1 if the broker did not tell (`acks=0`).
    pub offset: i64,
    /// Milliseconds since the Unix epoch: creation or log-append time, as the topic is configured; -1 if unknown.
    pub timestamp: i64,
}

/// A backend's copy of a record that is [short](Message::is_short).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// Whether it is [urgent](Record::is_urgent).
    pub urgent: bool,
}

/// A record's one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// It is in the log.
    Delivered(Delivered),
    /// It failed; here it is back.
    Failed(Failure, R),
    /// It failed, and was released before; here is what the backend copied of it.
    FailedCopy(Failure, Copied),
}

/// A delivery report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<R> {
    /// The slot that the record was taken with.
    pub slot: SlotId,
    /// What became of it.
    pub outcome: Outcome<R>,
}

/// What did not go from a settled batch into the backend's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent<R> {
    /// The queue is full: the record waits and is handed out again, before anything newer of its lane.
    Refused(SlotId, R),
    /// This record can never be sent; its neighbours are not concerned.
    Rejected(SlotId, Failure, R),
}

/// The driver's side of the seam, called from a backend's threads. Each call takes the driver's lock shortly, for many
/// reports several times.
pub trait Driver<R>: Send + Sync + 'static {
    /// The next batch, its records moved to the end of `records` in lane order; `None` means that there is nothing to
    /// do until [`Backend::wake`].
    ///
    /// A lane whose batch is out is not offered again before [`Driver::settle`], so its order holds for any number of
    /// workers.
    fn take(&self, records: &mut Vec<(SlotId, R)>) -> Option<MessageBatch>;

    /// Ends a hand-off: all records of `batch` that `unsent` does not name are in the backend's queue.
    ///
    /// `unsent` is in lane order, and refused records are a suffix of the batch.
    fn settle<I: Iterator<Item = Unsent<R>>>(&self, batch: MessageBatch, unsent: I);

    /// Gives back records so that their memory can be used again: those that were delivered, just before they are
    /// reported, and those that the backend has copied. Leaves `records` empty. A backend may as well drop them itself.
    fn release(&self, records: &mut Vec<R>) {
        records.clear();
    }

    /// Delivery reports, each lane's in order. A slot whose outcome is known already is counted as stale and ignored.
    ///
    /// The backend frees the space that the records took in its queue before it reports them.
    fn report<I: Iterator<Item = Report<R>>>(&self, reports: I);

    /// Tells of the success of a record that was handed off alone, from a thread that must not be kept and that may not call
    /// the backend: it wakes who waits for it, and no more. The space that the record takes in the backend's queue may be
    /// freed later. False if the driver rather hears of it by [`Driver::report`], in order with the others.
    ///
    /// After true, a worker calls [`Driver::report`] soon, without reports if there are none: the driver puts off until then
    /// what must not run on such a thread.
    fn report_at_once(&self, slot: SlotId, delivered: Delivered) -> bool {
        let _ = (slot, delivered);
        false
    }

    /// Whether somebody waits in a flush: the backend should not linger. Ask again after some time.
    fn flushing(&self) -> bool;

    /// What a worker says that could take another batch and will not: true if there is none, just as if it had asked, so
    /// that it may rest until [`Backend::wake`]. False means that somebody should take it.
    fn rest(&self) -> bool {
        false
    }

    /// The name of a topic that a lane of this driver mentioned.
    fn topic_name(&self, topic: TopicId) -> Option<&str>;

    /// The backend met a fatal error: pending records fail with it, new ones are refused. To be called before the answer of a
    /// call that failed with it; said again, it changes nothing.
    fn fatal(&self, failure: Failure);

    /// What stands in the way of records from now on, of one topic or of all; `None` when it is over. It takes the place of
    /// what was told before.
    fn trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        let _ = (topic, trouble);
    }

    /// What a broker said about a record that failed. To be called before its [report](Driver::report), in the same order.
    fn explain(&self, slot: SlotId, said: &str) {
        let _ = (slot, said);
    }

    /// Has a line written for the application's operator, to wherever its log is. For what nobody else is told: a backend
    /// with listeners tells those. It limits by itself how often it says something, and hides secrets.
    fn say(&self, severity: Severity, line: &str) {
        let _ = (severity, line);
    }

    /// What a call came to that [`Backend::call`] took on; once for each. After the driver was told to expect nothing more,
    /// by [`Driver::ended`], none is left.
    fn answered(&self, id: CallId, outcome: Result<Answer, CallError>) {
        let _ = (id, outcome);
    }

    /// The last word: every record has been reported that is to be. What a thread says later, one that could not be ended in
    /// time, changes nothing.
    fn ended(&self);
}

/// The backend's side of the seam, called from the driver, also on a runtime's threads: no method waits.
pub trait Backend: Send + Sync + 'static {
    /// There is a batch to take: wakes one idle worker.
    fn wake(&self);

    /// There is a batch to take, of the only record that there is. A backend that can take and hand it off on the calling
    /// thread, without waiting for anything, may do so in place of the worker.
    fn wake_for_one(&self) {
        self.wake();
    }

    /// Asks that lingering records be sent now, for as long as [`Driver::flushing`] says so.
    fn flush(&self);

    /// Fails what the backend holds with [`FailureKind::Purged`]: records it has not sent, those it waits to have
    /// acknowledged, or both.
    fn purge(&self, queued: bool, in_flight: bool);

    /// Makes a call that waits, on a thread that may, and answers by [`Driver::answered`], not before this returns. After
    /// one that is [transactional](Call::is_transactional) the next such comes when it is answered, and so it is with the
    /// others; one of each kind may be under way at once.
    ///
    /// # Errors
    /// The request itself, which is not answered then: the backend is shut down, or has no such calls.
    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        Err(request)
    }

    /// Ends the backend: everything still held is purged, the threads end, then comes [`Driver::ended`]. It comes soon, also
    /// if something that cannot be ended goes on.
    fn shut_down(&self);

    /// Code of the application, `code` by name, panicked where its panic was contained: for whoever is told of the backend's
    /// events.
    fn contained(&self, code: &'static str) {
        let _ = code;
    }
}

/// What a backend's configuration came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// The time from produce to failure that is in force, `None` for no limit.
    pub delivery_timeout: Option<Duration>,
    /// How long the backend itself lets records wait for company, which adds to the driver's own linger.
    pub linger: Duration,
    /// The largest record that the backend takes, in bytes: key, value and headers together, the lengths of each header's
    /// name and value as Kafka writes them, and `record_overhead`.
    pub record_bytes: usize,
    /// What each record takes of `record_bytes` beside that.
    pub record_overhead: usize,
    /// The backend's setting whose value `record_bytes` is, for those whose record is larger; empty if there is none.
    pub record_setting: &'static str,
    /// Whether records are written in transactions only (librdkafka: `transactional.id` is set).
    pub transactional: bool,
}

/// A backend's work on the application's runtime.
pub type BackgroundTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A configured backend that is yet to be connected to its producer.
pub trait Connect<R: Message> {
    /// Why it could not start; it names the culprit.
    type Error;

    /// Checks the configuration and says which limits follow from it. `delivery_timeout` is the caller's wish, `None`
    /// if it left the matter to the backend's own configuration. Called once, before [`Connect::connect`].
    ///
    /// # Errors
    /// When the configuration is refused.
    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Self::Error>;

    /// Whether real time passes for it, as for all that has threads or connections of its own. If so, a clock that a test has
    /// paused is held while it is at work. Called once, before [`Connect::connect`].
    fn is_real_time(&self) -> bool {
        true
    }

    /// What is to run on the application's runtime beside the producer, each task for itself. They are spawned when the
    /// backend is connected, and end by themselves when it has ended. Called once, before [`Connect::connect`].
    fn background(&mut self) -> Vec<BackgroundTask> {
        Vec::new()
    }

    /// Starts the backend's threads. `capacity` is the size of the pool: a [`SlotId`]'s index is always below it.
    ///
    /// # Errors
    /// When the configuration is refused. Nothing is left running then, and `driver` is not called.
    fn connect<E: Driver<R>>(self, driver: Arc<E>, capacity: usize) -> Result<Arc<dyn Backend>, Self::Error>;
}
