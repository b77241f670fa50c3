//! The seam between the driver and a backend that does I/O on its own threads.
//!
//! A backend's threads **pull**: an idle worker takes a batch from the [`Driver`], with the records themselves. The backend owns a
//! record while it works on it. So the memory that it lends to a C library is its own, and the borrow checker keeps it alive, not
//! a convention between crates. The record's slot stays occupied until the backend gives the record's outcome, with
//! [`Driver::settle`] or [`Driver::report`].
//!
//! ```text
//! driver                               backend
//!   Backend::wake ───────────────────▶ a worker wakes; a single record may be handed off by the caller
//!   Driver::take ◀──────────────────── a worker takes a batch with its records
//!   Driver::settle ◀────────────────── the worker has enqueued the batch, or says which records it has not
//!   Driver::release ◀───────────────── delivered or copied records, for reuse of their memory
//!   Driver::report ◀────────────────── delivery reports, in bulk
//!   Backend::call ───────────────────▶ a thread that may block makes a broker call
//!   Driver::complete_call ◀─────────── its result
//!   Backend::shut_down ──────────────▶ purge, end the threads
//!   Driver::ended ◀─────────────────── the last call
//! ```

mod advice;
mod calls;
mod clock;
mod code;
mod failure;
mod journal;
mod load;
mod metadata;
mod outcome;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::time::Duration;

use crate::{MessageBatch, Record, SlotId, TopicId};

pub use advice::Advice;
pub use calls::{Answer, Call, CallError, CallId, Credentials, Group, GroupOffset, Request};
pub use clock::Clock;
pub use code::ErrorCode;
pub use failure::{Failure, FailureKind, Severity, Status, Trouble};
pub use journal::{Accepted, Journal};
pub use load::PartitionLoad;
pub use metadata::{Broker, Metadata, MetadataError, PartitionMetadata, TopicMetadata};
pub use outcome::{Copied, Delivered, Outcome, Report, Unsent};

/// What a backend reads of a record.
///
/// `None` and empty differ, for keys and for payloads. Slices borrow from the record: they are valid as long as the record is
/// not moved.
///
/// ```
/// use aioproducer_core::backend::Message;
///
/// /// Whether a record deletes its key from a compacted topic.
/// fn is_tombstone(record: &impl Message) -> bool {
///     record.key().is_some() && record.payload().is_none()
/// }
/// ```
pub trait Message: Record + Send + Sync + 'static {
    /// The value; `None` for a tombstone.
    fn payload(&self) -> Option<&[u8]>;

    /// The key; `None` if there is none.
    fn key(&self) -> Option<&[u8]>;

    /// The creation time in milliseconds since the Unix epoch; if it is `None`, the backend sets the current time.
    fn timestamp(&self) -> Option<i64>;

    /// The number of headers.
    fn header_count(&self) -> usize;

    /// The header at `index`, duplicates included: its name, without NUL bytes, and its value, which may be null.
    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)>;

    /// A copy of the record that shares its memory. The application gets it if the producer ends while a C library still reads
    /// the record. `None` if the record cannot be copied.
    fn duplicate(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether the record consists of its lane, a short key and a short payload only. A backend may copy such a record,
    /// [release](Driver::release) it right after its hand-off, and give back the copy if it fails ([`Outcome::FailedCopy`]).
    fn is_short(&self) -> bool {
        false
    }
}

/// The driver's side of the seam, called from a backend's threads. Each call takes the driver's lock for a short time; a call
/// with many reports takes it several times. The iterators that [`Driver::settle`] and
/// [`Driver::report`] get are advanced under that lock: they must not block, call the driver, or drop a record.
///
/// ```
/// use aioproducer_core::backend::{Delivered, Driver, Outcome, Report};
///
/// /// What a worker does when it is woken, of a backend to which each record is delivered at once.
/// fn deliver<R>(driver: &impl Driver<R>, next_offset: &mut i64) {
///     let mut taken = Vec::new();
///     while let Some(batch) = driver.take(&mut taken) {
///         driver.settle(batch, std::iter::empty());
///         let (slots, mut records): (Vec<_>, Vec<_>) = taken.drain(..).unzip();
///         driver.release(&mut records);
///         let reports = slots.into_iter().map(|slot| {
///             let delivered = Delivered::new(0, Some(*next_offset), None);
///             *next_offset += 1;
///             Report { slot, outcome: Outcome::Delivered(delivered) }
///         });
///         driver.report(reports);
///     }
/// }
/// ```
pub trait Driver<R>: Send + Sync + 'static {
    /// Takes the next batch, and moves its records to the end of `records`, in lane order. `None` means that the worker is idle
    /// until [`Backend::wake`].
    ///
    /// There is at most one batch of a lane between this and [`Driver::settle`], so the lane's order holds for any number of
    /// workers.
    fn take(&self, records: &mut Vec<(SlotId, R)>) -> Option<MessageBatch>;

    /// Ends the hand-off of a batch: its records are in the backend's queue, except those in `unsent`.
    ///
    /// `unsent` is in lane order, and refused records are a suffix of the batch.
    fn settle<I: Iterator<Item = Unsent<R>>>(&self, batch: MessageBatch, unsent: I);

    /// Gives back records for reuse of their memory: delivered records just before they are reported, and records that the
    /// backend has copied. Leaves `records` empty. A backend may drop records instead.
    fn release(&self, records: &mut Vec<R>) {
        records.clear();
    }

    /// Passes on delivery reports, those of each lane in order. A report for a slot whose outcome is known is ignored and counted
    /// as stale.
    ///
    /// The records' space in the backend's queue is free when they are reported.
    fn report<I: Iterator<Item = Report<R>>>(&self, reports: I);

    /// Completes one delivered record that was handed off alone; does not block and does not call the backend. It wakes the
    /// record's task. The record's space in the backend's queue may be freed later. Returns false if the driver declines; the
    /// record is then reported by [`Driver::report`], in order with the others.
    ///
    /// If this returns true, a worker calls [`Driver::report`] soon, without reports if there are none. The driver defers work
    /// that must not run on this thread until then.
    fn report_at_once(&self, slot: SlotId, delivered: Delivered) -> bool {
        let _ = (slot, delivered);
        false
    }

    /// Whether a task waits in a flush, so the backend should not linger. The backend asks again after some time.
    fn is_flushing(&self) -> bool;

    /// Makes a worker idle that could take another batch but does not. Returns true if there is none, as after a
    /// [`take`](Driver::take) that returns `None`. False means that there is a batch for another worker.
    fn try_idle(&self) -> bool {
        false
    }

    /// The name of the topic of a lane of this driver.
    fn topic_name(&self, topic: TopicId) -> Option<&str>;

    /// Reports a fatal error: pending records fail with it, and new ones are rejected. It is reported before the result of a call
    /// that failed with it. A second report changes nothing.
    fn fatal(&self, failure: Failure);

    /// Sets the current trouble of one topic or of all topics; `None` when it is over. It replaces the previous one.
    fn set_trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        let _ = (topic, trouble);
    }

    /// Passes on a broker's message about a record that failed, before its [report](Driver::report) and in the same order.
    fn broker_message(&self, slot: SlotId, message: &str) {
        let _ = (slot, message);
    }

    /// Writes a line to the operator's log. A backend does this only for what the application does not read as events. It limits
    /// the rate of its lines, and hides secrets.
    fn log(&self, severity: Severity, line: &str) {
        let _ = (severity, line);
    }

    /// The first of the backend's [connections](Backend::connections) is up, or the last one is down.
    fn connections_changed(&self) {}

    /// Completes a call that [`Backend::call`] has accepted; once for each, and before [`Driver::ended`].
    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        let _ = (id, result);
    }

    /// The last call: the backend makes no more reports. Calls of a thread that could not be ended in time change nothing after
    /// this.
    fn ended(&self);
}

/// The backend's side of the seam, called from the driver, also on a runtime's threads: no method blocks.
///
/// ```
/// use std::sync::mpsc::Sender;
///
/// use aioproducer_core::backend::Backend;
///
/// enum Ask {
///     Deliver,
///     End,
/// }
///
/// /// A backend with one thread, which delivers when it is asked to, and calls [`Driver::ended`] at its end.
/// struct OneThread(Sender<Ask>);
///
/// impl Backend for OneThread {
///     fn wake(&self) {
///         drop(self.0.send(Ask::Deliver));
///     }
///
///     fn flush(&self) {}
///
///     fn purge(&self, _queued: bool, _in_flight: bool) {}
///
///     fn shut_down(&self) {
///         drop(self.0.send(Ask::End));
///     }
/// }
/// ```
pub trait Backend: Send + Sync + 'static {
    /// Wakes one idle worker: there is a batch to take.
    fn wake(&self);

    /// Wakes one idle worker: there is a batch of one record, the only one in the producer. A backend may take it and hand it off
    /// on the calling thread instead, if that does not block.
    fn wake_for_one(&self) {
        self.wake();
    }

    /// Where a record goes that names no partition. It is called before the record is accepted, on the thread that produces it and
    /// without a lock. It must not block. `value` is `None` for a tombstone.
    ///
    /// It is called for each record with a key, and for each one without, until the answer for one of the topic is
    /// [`Placement::Any`].
    fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        let _ = (topic, key, value);
        Placement::Unknown
    }

    /// The backend's connections, if it counts them. It gets no batch while none is up: such a record would be on its way when its
    /// time has passed, and be sent later. It calls [`Driver::connections_changed`] when the first one comes up, and when the last
    /// one goes down. Then it connects again by itself, as no record makes it do so.
    fn connections(&self) -> Option<Connections> {
        None
    }

    /// What the backend has of each partition that it has got records for, in no order. It must not block.
    fn loads(&self) -> Vec<PartitionLoad> {
        Vec::new()
    }

    /// Sends lingering records at once, as long as [`Driver::is_flushing`] returns true.
    fn flush(&self);

    /// Fails the backend's records with [`FailureKind::Purged`]: those that it has not sent (`queued`), those that are not
    /// acknowledged yet (`in_flight`), or both.
    fn purge(&self, queued: bool, in_flight: bool);

    /// Makes a broker call on a thread that may block, and completes it with [`Driver::complete_call`] after this has returned.
    /// The driver requests one [transactional](Call::is_transactional) call at a time, and one other call.
    ///
    /// # Errors
    /// Returns the request, which is not completed then: the backend is shut down, or does not make such calls.
    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        Err(request)
    }

    /// Ends the backend: its records are purged, its threads end, and it calls [`Driver::ended`]. That happens soon, even if a
    /// thread cannot be ended in time.
    fn shut_down(&self);

    /// Reports to the readers of the backend's events that code of the application panicked and the panic was caught. `code` names
    /// that code.
    fn panic_caught(&self, code: &'static str) {
        let _ = code;
    }
}

/// Where a record goes that names no partition.
///
/// ```
/// use aioproducer_core::backend::Placement;
///
/// /// The placement by a hash of the key, if the number of partitions is known.
/// fn by_hash(hash: u32, partitions: u32) -> Placement {
///     hash.checked_rem(partitions).map_or(Placement::Unknown, |partition| Placement::Partition(partition as i32))
/// }
/// assert_eq!([by_hash(7, 0), by_hash(7, 3)], [Placement::Unknown, Placement::Partition(1)]);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// To this partition.
    Partition(i32),
    /// To any partition: the backend chooses one at hand-off.
    Any,
    /// It is not known yet: the backend chooses at hand-off, or when it knows the number of partitions. Records of a topic with this
    /// answer are handed off in the order in which they were produced, and later ones that are placed stay behind them.
    Unknown,
}

/// A backend's connections to brokers over which records are sent.
///
/// ```
/// use aioproducer_core::backend::Connections;
///
/// /// Whether no record can have been sent between the two answers.
/// fn was_dark(before: Connections, after: Connections) -> bool {
///     before.up == 0 && before == after
/// }
/// # let dark = Connections { up: 0, made: 3 };
/// # assert!(was_dark(dark, dark));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Connections that are up.
    pub up: u32,
    /// Connections that have ever come up. It is counted before a record can be sent over the connection.
    pub made: u64,
}

/// The limits that follow from a backend's configuration.
///
/// ```
/// use std::time::Duration;
///
/// use aioproducer_core::backend::BackendLimits;
///
/// let limits = BackendLimits {
///     delivery_timeout: Some(Duration::from_secs(120)),
///     linger: Duration::ZERO,
///     record_bytes: 1_000_000,
///     record_overhead: 36,
///     record_setting: Some("message.max.bytes"),
///     availability_timeout: None,
///     transactional: false,
/// };
/// assert!(limits.record_overhead < limits.record_bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// The delivery timeout in force; `None` for no limit.
    pub delivery_timeout: Option<Duration>,
    /// The backend's own linger, which adds to the driver's.
    pub linger: Duration,
    /// The largest record that the backend accepts, in bytes: key, value, headers with the lengths of their names and values as
    /// Kafka encodes them, and `record_overhead`.
    pub record_bytes: usize,
    /// The part of `record_bytes` that each record needs besides key, value and headers.
    pub record_overhead: usize,
    /// The backend's setting that `record_bytes` comes from, for error messages; `None` if there is none.
    pub record_setting: Option<&'static str>,
    /// How long a partition may leave records without an answer before it counts as unavailable (KIP-794,
    /// `partitioner.availability.timeout.ms`); `None` if partitions are not distinguished.
    pub availability_timeout: Option<Duration>,
    /// Whether records are written in transactions (librdkafka: `transactional.id` is set).
    pub transactional: bool,
}

/// A task of the backend on the application's runtime.
///
/// ```
/// use aioproducer_core::backend::BackgroundTask;
///
/// let task: BackgroundTask = Box::pin(async { println!("on the application's runtime") });
/// # drop(task);
/// ```
pub type BackgroundTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A configured backend that is not connected to its producer yet.
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use aioproducer_core::backend::{Backend, BackendLimits, Connect, Driver, Message};
///
/// /// Accepts records and never delivers one.
/// struct Silent;
///
/// impl Backend for Silent {
///     fn wake(&self) {}
///     fn flush(&self) {}
///     fn purge(&self, _queued: bool, _in_flight: bool) {}
///     fn shut_down(&self) {}
/// }
///
/// impl<R: Message> Connect<R> for Silent {
///     type Error = Infallible;
///
///     fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
///         Ok(BackendLimits {
///             delivery_timeout,
///             linger: Duration::ZERO,
///             record_bytes: 1_000_000,
///             record_overhead: 0,
///             record_setting: None,
///             availability_timeout: None,
///             transactional: false,
///         })
///     }
///
///     fn connect<D: Driver<R>>(self, _driver: Arc<D>, _capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
///         Ok(Arc::new(self))
///     }
/// }
/// ```
pub trait Connect<R: Message> {
    /// Why it cannot start. The error names the setting.
    type Error: core::error::Error + Send + Sync + 'static;

    /// Checks the configuration and returns the limits that follow from it. `delivery_timeout` is the builder's; `None` leaves it
    /// to the backend's own configuration. It is called once, before [`Connect::connect`].
    ///
    /// # Errors
    /// If the configuration is refused.
    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Self::Error>;

    /// Whether the backend needs real time, because it has threads or connections of its own. If so, a test's paused clock does
    /// not jump ahead while the backend works. It is called once, before [`Connect::connect`].
    fn is_real_time(&self) -> bool {
        true
    }

    /// The backend's tasks on the application's runtime, whose clock is `clock`. They are spawned when the backend is connected, and
    /// end after it. It is called once, before [`Connect::connect`].
    fn background(&mut self, clock: &Arc<dyn Clock>) -> Vec<BackgroundTask> {
        let _ = clock;
        Vec::new()
    }

    /// What notes the producer's records and outcomes, of a backend for tests. It is asked for once, before [`Connect::connect`], by
    /// a driver that has its feature `journal`.
    fn journal(&mut self) -> Option<Arc<dyn Journal>> {
        None
    }

    /// Starts the backend's threads. `capacity` is the size of the pool; the index of each [`SlotId`] is below it.
    ///
    /// # Errors
    /// If the configuration is refused. No thread is left then, and `driver` is not called.
    fn connect<E: Driver<R>>(self, driver: Arc<E>, capacity: usize) -> Result<Arc<dyn Backend>, Self::Error>;
}
