//! The handle that applications hold.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::PurgeScope;

use crate::admission::error::ProduceError;
use crate::api::builder::Builder;
use crate::api::close::Close;
use crate::api::delivery::Delivery;
use crate::api::flush::Flush;
use crate::api::produce::{Produce, SendRecord, try_produce};
use crate::api::produce_all::ProduceAll;
use crate::api::produce_with::{ProduceWith, try_produce_with};
use crate::api::purge::Purge;
use crate::api::statistics::Statistics;
use crate::callbacks::{Asynchronous, Synchronous};
use crate::outcome::ended_by::EndedBy;
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::record::Record;
use crate::record::topics::{Topic, TopicError};
use crate::state::shared::Shared;

/// An asynchronous Kafka producer. Cheap to clone; clones share everything.
///
/// A record is *accepted* once it owns a slot of the producer's fixed pool. From then on it has exactly one outcome, which
/// arrives at its [`Delivery`]. No method blocks the calling thread, whether the broker is up, slow, down or unknown.
///
/// Records of one topic and partition, and records of one key, are written in the order in which they were accepted.
///
/// When the last clone is dropped without [`close`](Self::close), the records that were not delivered fail with
/// [`FailureKind::Closed`](crate::error::FailureKind::Closed), and the backend's threads end by themselves.
///
/// | to | call |
/// | --- | --- |
/// | produce one record and wait for its delivery | [`send`](Self::send) |
/// | produce now, wait for the delivery later | [`produce`](Self::produce), [`try_produce`](Self::try_produce) |
/// | produce many records at once | [`produce_all`](Self::produce_all) |
/// | get outcomes in a callback or in a stream | [`produce_with`](Self::produce_with), [`reports`](Self::reports) |
/// | write in transactions | [`begin`](Self::begin) |
/// | wait for all records, or give some up | [`flush`](Self::flush), [`purge`](Self::purge) |
/// | end in order | [`close`](Self::close) |
/// | ask the cluster | [`ready`](Self::ready), [`metadata`](Self::metadata), [`partitions_for`](Self::partitions_for) |
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record};
/// # use std::time::Duration;
/// async fn orders(producer: AioProducer) -> Result<(), Box<dyn std::error::Error>> {
///     let delivery = producer.produce(Record::to("orders").key("customer-7").payload("two apples")).await?;
///     println!("accepted");
///     println!("delivered: {}", delivery.await?);
///     producer.close(Duration::from_secs(10)).await;
///     Ok(())
/// }
/// ```
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

    /// Settings for a producer on `backend`. [`Builder::start`] starts it.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Builder};
    /// # use std::time::Duration;
    /// fn settings<B>(backend: B) -> Builder<B> {
    ///     AioProducer::builder(backend).slots(10_000).delivery_timeout(Duration::from_secs(30))
    /// }
    /// ```
    pub fn builder<B>(backend: B) -> Builder<B> {
        Builder::new(backend)
    }

    /// Gets a record accepted. The future resolves to the record's [`Delivery`]. It waits only while the pool is full, or its
    /// partition has its share of it, until the delivery timeout. Those that wait for the pool, and those that wait for the same
    /// partition, are served in the order in which they came. If the future is dropped before it resolves, the record is not accepted.
    ///
    /// In a loop it lets other tasks have their turn now and then, as all futures of a producer do: it is pending at its first
    /// poll then, and wakes its task. [`try_produce`](Self::try_produce) never does.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// async fn write(producer: &AioProducer, lines: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut deliveries = Vec::new();
    ///     for line in lines {
    ///         deliveries.push(producer.produce(Record::to("lines").payload(line)).await?);
    ///     }
    ///     for delivery in deliveries {
    ///         delivery.await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[inline]
    pub fn produce<'p, 'r>(&'p self, record: impl Into<Record<'r>>) -> Produce<'p, 'r> {
        Produce::new(&self.shared, record.into())
    }

    /// Gets a record accepted if there is room at once.
    ///
    /// The error borrows nothing, so `?` works wherever the function returns. For that, what a rejected record borrows is
    /// copied; [`try_produce_borrowed`](Self::try_produce_borrowed) avoids the copy.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back: [`ProduceError::Full`] when the pool is full or other records wait for room,
    /// [`ProduceError::PartitionFull`] when the records of its partition have their share of the pool.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// fn note(producer: &AioProducer, customer: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let key = customer.to_string();
    ///     drop(producer.try_produce(Record::to("orders").key(&key).payload("two apples"))?);
    ///     Ok(())
    /// }
    /// ```
    pub fn try_produce<'r>(&self, record: impl Into<Record<'r>>) -> Result<Delivery, ProduceError<'static>> {
        try_produce(&self.shared, &mut record.into(), false).map_err(|error| error.into_owned())
    }

    /// As [`try_produce`](Self::try_produce), for callers that meet a full pool often: the error borrows what the record
    /// borrows, so nothing is copied, and nothing allocated but the error itself. Records of [`Bytes`](crate::Bytes) for a
    /// [`Topic`] borrow nothing and do not need it.
    ///
    /// # Errors
    /// As [`try_produce`](Self::try_produce).
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, ProduceError, Record};
    /// /// Whether there was room.
    /// fn offer(producer: &AioProducer, frame: &[u8]) -> Result<bool, ProduceError<'static>> {
    ///     match producer.try_produce_borrowed(Record::to("frames").payload(frame)) {
    ///         Ok(_forgotten) => Ok(true),
    ///         Err(ProduceError::Full(_) | ProduceError::PartitionFull { .. }) => Ok(false),
    ///         Err(error) => Err(error.into_owned()),
    ///     }
    /// }
    /// ```
    pub fn try_produce_borrowed<'r>(&self, record: impl Into<Record<'r>>) -> Result<Delivery, ProduceError<'r>> {
        try_produce(&self.shared, &mut record.into(), false).map_err(|error| *error)
    }

    /// Gets a record accepted, and has `callback` called with its outcome: once, on the runtime, after the callbacks of earlier
    /// records of the partition, beside those of other partitions. The callback may produce, flush, or drop the producer; it
    /// should not block.
    ///
    /// The future waits while the pool is full, or while twice as many callbacks as the pool has slots wait for an outcome or
    /// their turn. A panic of a callback is caught and counted. Callbacks whose runtime has ended are dropped.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    ///
    /// ```
    /// # async fn example(producer: aioproducer_driver::AioProducer) -> Result<(), aioproducer_driver::ProduceError<'static>> {
    /// use aioproducer_driver::Record;
    ///
    /// producer
    ///     .produce_with(Record::to("orders").payload("one"), |outcome| match outcome {
    ///         Ok(report) => println!("delivered: {report}"),
    ///         Err(error) => eprintln!("{error}"),
    ///     })
    ///     .await
    /// # }
    /// ```
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

    /// As [`produce_with`](Self::produce_with), with a callback that returns a future, which runs to its end before the next
    /// callback of the partition. The future is allocated.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, ProduceError, Record};
    /// /// A record that was not delivered goes to another topic.
    /// async fn with_fallback(producer: &AioProducer, line: String) -> Result<(), ProduceError<'static>> {
    ///     let fallback = producer.clone();
    ///     let callback = async move |outcome: Result<_, aioproducer_driver::DeliveryError>| {
    ///         let Err(error) = outcome else { return };
    ///         let note = Record::to("failures").payload(error.to_string());
    ///         if let Err(error) = fallback.send(note).await {
    ///             eprintln!("{error}");
    ///         }
    ///     };
    ///     producer.produce_with_async(Record::to("lines").payload(line), callback).await
    /// }
    /// ```
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

    /// As [`produce_with`](Self::produce_with), if there is room at once.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, ProduceError, Record};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static LOST: AtomicU64 = AtomicU64::new(0);
    ///
    /// fn note(producer: &AioProducer, line: &str) -> Result<(), ProduceError<'static>> {
    ///     producer.try_produce_with(Record::to("lines").payload(line), |outcome| {
    ///         LOST.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
    ///     })
    /// }
    /// ```
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

    /// Produces a record and waits for its delivery. The linger ends for it, unless
    /// [`Builder::send_lingers`](crate::Builder::send_lingers) says otherwise.
    ///
    /// # Errors
    /// [`SendError`](crate::SendError): the record was not accepted, or not delivered; it hands the record back.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record, SendError};
    /// async fn place(producer: &AioProducer, order: &[u8]) -> Result<(), SendError> {
    ///     let report = producer.send(Record::to("orders").payload(order)).await?;
    ///     println!("delivered: {report}");
    ///     Ok(())
    /// }
    /// ```
    pub fn send<'p, 'r>(&'p self, record: impl Into<Record<'r>>) -> SendRecord<'p, 'r> {
        SendRecord::new(self.produce(record))
    }

    /// Produces many records, in order, and waits for all their outcomes: one future, few locks. The outcomes are in
    /// the order of the records. If it is dropped early, the accepted records are delivered all the same, and the rest is not
    /// accepted.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// /// The records that were not delivered, to be sent again.
    /// async fn write(producer: &AioProducer, lines: &[String]) -> Vec<Record<'static>> {
    ///     let outcomes = producer.produce_all(lines.iter().map(|line| Record::to("lines").payload(line))).await;
    ///     outcomes.into_iter().filter_map(|outcome| outcome.err()?.into_record()).collect()
    /// }
    /// ```
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
    /// [`TopicError`] if Kafka rejects such a name, or if the producer knows as many topics as it may
    /// ([`Builder::topics`](crate::Builder::topics)). Whether the topic exists is not checked.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// fn ticks(producer: &AioProducer) -> Result<(), Box<dyn std::error::Error>> {
    ///     let topic = producer.topic("ticks")?;
    ///     for tick in 0..1_000_u32 {
    ///         drop(producer.try_produce(Record::to(&topic).payload(&tick.to_be_bytes()))?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn topic(&self, name: &str) -> Result<Topic, TopicError> {
        Topic::new(&self.shared.topics, name)
    }

    /// Waits until every record accepted before the first poll has its outcome, and for those only. Lingering ends for
    /// them, here and in the backend. Callbacks are waited for only if [`Flush::callbacks`] asks for it, so that a callback may
    /// flush. Any number of flushes may be under way, and each may be dropped at any time.
    ///
    /// # Errors
    /// [`FlushError`](crate::error::FlushError): a limit was set with [`Flush::within`] and it passed, or a flush that waits for
    /// callbacks was awaited inside of one.
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// # use std::time::Duration;
    /// async fn settle(producer: &AioProducer) {
    ///     if let Err(error) = producer.flush().within(Duration::from_secs(5)).await {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    pub fn flush(&self) -> Flush<'_> {
        Flush::new(&self.shared)
    }

    /// Gives up accepted records: those that were not sent, those that were and that no broker has acknowledged, or both. They
    /// fail with [`FailureKind::Purged`](crate::error::FailureKind::Purged) and say whether they may be in the log: those of the
    /// producer's own buffer when the future resolves, those of the backend (`rd_kafka_purge`) right after it. Records that
    /// are produced after the first poll stay in the producer's buffer; once they are handed off, what is given up of the backend may
    /// include them, until it has purged.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, PurgeScope};
    /// /// Gives up what was not sent, and waits for the rest.
    /// async fn give_up(producer: &AioProducer) -> Result<(), aioproducer_driver::error::FlushError> {
    ///     producer.purge(PurgeScope::Queued).await;
    ///     producer.flush().await
    /// }
    /// ```
    pub fn purge(&self, scope: PurgeScope) -> Purge<'_> {
        Purge::new(&self.shared, scope)
    }

    /// Ends the producer in order: new records are rejected, and accepted ones have until `within` to arrive. Those that did
    /// not are returned with their status, and their deliveries fail. When this resolves, the backend's threads have ended and
    /// callbacks have run, as far as they came to their end by then; a close inside a callback does not wait for callbacks. It
    /// may be called again.
    ///
    /// It takes at most `within` and 200 ms, as long as the runtime runs its tasks. What the backend cannot end by then, such as
    /// a call that waits for a broker or a name that is being resolved, goes on by itself without effect on the producer; its
    /// records may be in the log.
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// # use std::time::Duration;
    /// async fn shut_down(producer: AioProducer) {
    ///     let report = producer.close(Duration::from_secs(10)).await;
    ///     for unsent in report.unsent() {
    ///         eprintln!("{:?} is {}", unsent.record, unsent.status);
    ///     }
    /// }
    /// ```
    pub fn close(&self, within: Duration) -> Close<'_> {
        Close::new(&self.shared, within)
    }

    /// How many accepted records have no outcome yet: those that wait in the producer's buffer, and those
    /// [in flight](Self::in_flight).
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// /// Whether to take on more work.
    /// fn has_capacity(producer: &AioProducer) -> bool {
    ///     producer.len() < 50_000
    /// }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.with(|state, _| state.machine.held())
    }

    /// Whether every accepted record has its outcome.
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// fn is_safe_to_drop(producer: &AioProducer) -> bool {
    ///     producer.is_empty()
    /// }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the [`len`](Self::len) records the backend has: in its own queue, or sent and not acknowledged yet. The
    /// others can still be [taken back](Delivery::retract). It is [`Statistics::handed_off`].
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// /// How many records wait for their batch.
    /// fn buffered(producer: &AioProducer) -> usize {
    ///     producer.len().saturating_sub(producer.in_flight())
    /// }
    /// ```
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.with(|state, _| state.machine.stats().handed_off)
    }

    /// Whether the producer rejects new records: it is closed, its runtime has ended, or it met a
    /// [fatal error](Self::fatal_error).
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// fn is_healthy(producer: &AioProducer) -> bool {
    ///     !producer.is_closed()
    /// }
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().machine.is_closed()
    }

    /// What the producer holds now, and what it has counted since its start.
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// fn print(producer: &AioProducer) {
    ///     let now = producer.statistics();
    ///     println!("{} of {} slots, {} bytes; {} records accepted", now.in_use, now.capacity, now.bytes, now.acquired);
    /// }
    /// ```
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (machine, waiters) = self.shared.with(|state, _| (state.machine.stats(), state.waiters.len()));
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
            dropped: machine.dropped,
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
