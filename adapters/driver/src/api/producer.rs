//! The handle that applications hold.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::admit::try_produce;
use crate::api::builder::Builder;
use crate::api::close::Close;
use crate::api::delivery::Delivery;
use crate::api::error::ProduceError;
use crate::api::flush::Flush;
use crate::api::produce::{Produce, SendRecord};
use crate::api::produce_all::ProduceAll;
use crate::api::produce_with::{ProduceWith, try_produce_with};
use crate::api::purge::Purge;
use crate::api::reports::{Reporter, Reports};
use crate::callbacks::{Asynchronous, Synchronous};
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::record::Record;
use crate::record::topics::{Topic, TopicError};
use crate::state::end::EndedBy;
use crate::state::shared::Shared;

/// An asynchronous Kafka producer. Cheap to clone; clones share everything.
///
/// A record is *accepted* once it owns a slot of the producer's fixed pool; from then on it has exactly one outcome,
/// which its [`Delivery`] tells. No method waits on the calling thread, with the broker up, slow, down or unknown.
///
/// Records of one topic and partition, and records of one key, are written in the order in which they were accepted.
///
/// When the last clone is dropped without [`close`](Self::close), what was not delivered fails with
/// `FailureKind::Closed`, and the backend's threads end by themselves.
#[derive(Clone)]
pub struct AioProducer {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

/// Ends the producer when the last handle goes.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.abort(EndedBy::LastHandle);
    }
}

impl AioProducer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { owner: Arc::new(Owner(Arc::clone(&shared))), shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Settings for a producer on `backend`.
    pub fn builder<B>(backend: B) -> Builder<B> {
        Builder::new(backend)
    }

    /// Gets a record accepted. The future resolves to the record's [`Delivery`]; it waits only while the pool is full,
    /// first come, first served. Dropped before it resolves, the record was never accepted.
    ///
    /// In a loop it lets other tasks have their turn now and then, as all futures of a producer do: it is pending at its first
    /// poll then, and wakes its task. [`try_produce`](Self::try_produce) never does.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back.
    #[inline]
    pub fn produce<'p, 'r>(&'p self, record: impl Into<Record<'r>>) -> Produce<'p, 'r> {
        Produce::new(&self.shared, record.into())
    }

    /// Gets a record accepted if there is room at once.
    ///
    /// The error borrows nothing, so `?` works wherever the function returns. For that, what a refused record borrows is copied;
    /// [`try_produce_borrowed`](Self::try_produce_borrowed) spares it.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// fn note(producer: &AioProducer, customer: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let key = customer.to_string();
    ///     drop(producer.try_produce(Record::to("orders").key(&key).payload("two apples"))?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back: [`ProduceError::Full`] when the pool is full or others wait for it.
    pub fn try_produce<'r>(&self, record: impl Into<Record<'r>>) -> Result<Delivery, ProduceError<'static>> {
        try_produce(&self.shared, &mut record.into(), false).map_err(|error| error.into_owned())
    }

    /// The same, for those who meet a full pool often: the error borrows what the record borrows, and copies and allocates
    /// nothing but its own few bytes. Records of [`Bytes`](crate::Bytes) for a [`Topic`] need it not: they borrow nothing.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, ProduceError, Record};
    /// /// Whether there was room.
    /// fn offer(producer: &AioProducer, frame: &[u8]) -> Result<bool, ProduceError<'static>> {
    ///     match producer.try_produce_borrowed(Record::to("frames").payload(frame)) {
    ///         Ok(_forgotten) => Ok(true),
    ///         Err(ProduceError::Full(_)) => Ok(false),
    ///         Err(error) => Err(error.into_owned()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`try_produce`](Self::try_produce).
    pub fn try_produce_borrowed<'r>(&self, record: impl Into<Record<'r>>) -> Result<Delivery, ProduceError<'r>> {
        try_produce(&self.shared, &mut record.into(), false).map_err(|error| *error)
    }

    /// Gets a record accepted, and has `callback` called with its outcome: once, on the runtime, after those of earlier
    /// records of the partition, beside those of others. It may produce, flush, or drop the producer; it should not block.
    ///
    /// The future waits while the pool is full, or while twice as many callbacks as the pool has slots wait for an outcome or
    /// their turn. A panic of a callback is contained and counted. Callbacks whose runtime has ended are dropped.
    ///
    /// ```
    /// # async fn example(producer: aioproducer_driver::AioProducer) -> Result<(), aioproducer_driver::ProduceError<'static>> {
    /// use aioproducer_driver::Record;
    ///
    /// producer
    ///     .produce_with(Record::to("orders").payload("one"), |outcome| match outcome {
    ///         Ok(report) => println!("at {}", report.offset()),
    ///         Err(error) => eprintln!("{error}"),
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    pub fn produce_with<'p, 'r, R, F>(
        &'p self,
        record: R,
        callback: F,
    ) -> impl Future<Output = Result<(), ProduceError<'static>>> + use<'p, 'r, R, F>
    where
        R: Into<Record<'r>>,
        F: FnOnce(Result<DeliveryReport, DeliveryError>) + Send + 'static,
    {
        ProduceWith::new(&self.shared, record.into(), Synchronous(callback))
    }

    /// The same with a callback that returns a future, which runs to its end before the next callback of the partition.
    /// The future is allocated.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    pub fn produce_with_async<'p, 'r, R, F, T>(
        &'p self,
        record: R,
        callback: F,
    ) -> impl Future<Output = Result<(), ProduceError<'static>>> + use<'p, 'r, R, F, T>
    where
        R: Into<Record<'r>>,
        F: FnOnce(Result<DeliveryReport, DeliveryError>) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        ProduceWith::new(&self.shared, record.into(), Asynchronous(callback))
    }

    /// Like [`produce_with`](Self::produce_with), if there is room at once.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    pub fn try_produce_with<'r, F>(
        &self,
        record: impl Into<Record<'r>>,
        callback: F,
    ) -> Result<(), ProduceError<'static>>
    where
        F: FnOnce(Result<DeliveryReport, DeliveryError>) + Send + 'static,
    {
        try_produce_with(&self.shared, &mut record.into(), Synchronous(callback)).map_err(ProduceError::into_owned)
    }

    /// A stream of outcomes, for one loop that looks after all records of the [`Reporter`]: it produces them, each with a
    /// tag that comes back with the outcome. `capacity` outcomes, at least 1, may be under way or unread at a time.
    pub fn reports<T: Send + 'static>(&self, capacity: usize) -> (Reporter<T>, Reports<T>) {
        Reporter::pair(self, capacity)
    }

    /// Produces a record and waits for its delivery. The linger ends for it, unless
    /// [`Builder::send_lingers`](crate::Builder::send_lingers) says otherwise.
    ///
    /// # Errors
    /// [`SendError`](crate::SendError): it was not accepted, or not delivered; with the record.
    pub fn send<'p, 'r>(&'p self, record: impl Into<Record<'r>>) -> SendRecord<'p, 'r> {
        SendRecord::new(self.produce(record))
    }

    /// Produces many records, in order, and waits for all their outcomes: one future, few locks. The outcomes are in
    /// the order of the records. Dropped early, what was accepted goes its way, and the rest was never accepted.
    pub fn produce_all<'p, 'r, I>(&'p self, records: I) -> ProduceAll<'p, 'r, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<Record<'r>>,
    {
        ProduceAll::new(&self.shared, records.into_iter())
    }

    /// A handle on a topic, so that records for it need no look-up by name.
    ///
    /// # Errors
    /// [`TopicError`] if Kafka would refuse the name. Whether the topic exists is the broker's to say.
    pub fn topic(&self, name: &str) -> Result<Topic, TopicError> {
        Topic::new(&self.shared.topics, name)
    }

    /// Waits until every record accepted before the first poll has its outcome, and only those. Lingering ends for
    /// them, here and in the backend. Callbacks are waited for only if
    /// [`Flush::callbacks`] asks for it, so that one may flush. Any number of flushes may be under way, and each may be dropped at
    /// any time.
    ///
    /// # Errors
    /// [`FlushError`](crate::FlushError): a limit was set with [`Flush::within`] and it passed, or callbacks were to be waited for
    /// inside of one.
    pub fn flush(&self) -> Flush<'_> {
        Flush::new(&self.shared)
    }

    /// Gives up accepted records: `queued` ones, which were not sent yet, or those that are `in_flight`, or both. They fail
    /// with [`FailureKind::Purged`](crate::FailureKind::Purged) and say whether they may be in the log: those of the
    /// producer's own buffer when the future resolves, those of the backend (`rd_kafka_purge`) right after it. Records that
    /// are produced meanwhile may be purged, too.
    pub fn purge(&self, queued: bool, in_flight: bool) -> Purge<'_> {
        Purge::new(&self.shared, queued, in_flight)
    }

    /// Ends the producer in order: new records are refused, the others have until `within` to arrive; what did not is
    /// returned with its status, and fails. Threads have ended when this resolves, and callbacks have run, as far as they
    /// came to their end by then; a close inside a callback does not wait for callbacks. A second close is fine.
    ///
    /// It is over within `within` and 200 ms, as long as the runtime runs its tasks. What the backend cannot end by then goes on
    /// by itself and tells nobody anything, such as a call that waits for a broker, or a name that is being resolved; its records
    /// may be in the log.
    pub fn close(&self, within: Duration) -> Close<'_> {
        Close::new(&self.shared, within)
    }

    /// Accepted records without an outcome: buffered, handed off, and in the backend.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.with(|state, _| state.machine.len())
    }

    /// Whether no record is without an outcome.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the producer refuses new records.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().machine.is_closed()
    }

    /// The counts of the pool.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (machine, waiters, dropped) =
            self.shared.with(|state, _| (state.machine.stats(), state.waiters.len(), state.dropped));
        let callbacks = &self.shared.callbacks;
        let counts = callbacks.counts();
        Statistics {
            capacity: machine.capacity,
            in_use: machine.in_use,
            high_water: machine.high_water,
            bytes: machine.bytes,
            buffered: machine.buffered,
            handed_off: machine.handed_off,
            overdue: machine.overdue,
            acquired: machine.acquired,
            batches: machine.batches,
            stale_reports: machine.stale_reports,
            waiters: waiters + callbacks.pool.waiters(),
            dropped,
            callbacks_waiting: counts.waiting,
            callbacks_panicked: counts.panicked,
            callbacks_stalled: counts.stalled,
            panics_caught: self.shared.panics.count(),
        }
    }
}

impl fmt::Debug for AioProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AioProducer")
            .field("statistics", &self.statistics())
            .field("handles", &Arc::strong_count(&self.owner))
            .finish_non_exhaustive()
    }
}

/// What the producer holds now, and counts since its start.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Slots of the pool.
    pub capacity: usize,
    /// Slots in use: records without an outcome, and overdue ones.
    pub in_use: usize,
    /// The most slots that were in use at once.
    pub high_water: usize,
    /// Bytes that the records in use count for, see [`Builder::pool_bytes`](crate::Builder::pool_bytes).
    pub bytes: usize,
    /// Records that wait to be handed to the backend.
    pub buffered: usize,
    /// Records handed to the backend and not yet reported.
    pub handed_off: usize,
    /// Records that failed because the backend did not tell of them in time, and that it has not let go of. It should be
    /// none; each keeps its slot.
    pub overdue: usize,
    /// Records accepted since the start.
    pub acquired: u64,
    /// Batches handed off since the start.
    pub batches: u64,
    /// Delivery reports that named no record in flight; they were ignored.
    pub stale_reports: u64,
    /// Tasks waiting for room in the pool, for a record or its callback.
    pub waiters: usize,
    /// Records that the [overflow policy](crate::Overflow) dropped since the start.
    pub dropped: u64,
    /// Callbacks whose record has ended and that have not come to their end.
    pub callbacks_waiting: usize,
    /// Callbacks that panicked since the start.
    pub callbacks_panicked: u64,
    /// How often callbacks took longer than [`callback_stall`](crate::Builder::callback_stall), since the start.
    pub callbacks_stalled: u64,
    /// How often other code of the application's panicked where nobody may be lost by it, since the start: a waker, the owner
    /// of a payload, a callback that was dropped, a subscriber or a recorder, the runtime's `spawn`. The producer goes on.
    pub panics_caught: u64,
}
