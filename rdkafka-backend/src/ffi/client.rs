//! The native client, and everything that must live exactly as long as it.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Failure, Message};
use rdkafka::client::Client as Handle;
use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::KafkaError;
use rdkafka_sys as sys;

use super::cells::{Cells, Lent};
use super::connections::ConnectionCounts;
use super::context::{CallbackContext, on_event, on_throttle};
use super::ended::Ended;
use super::interceptor::{AtOnce, Reports};
use super::raw_report::RawReport;
use super::topic::Topic;
use crate::config;
use crate::failure;
use crate::partition::partitioning::Partitioning;
use crate::partition::states::TopicStates;

/// A producer client with the records that it borrows.
pub(crate) struct Client<R> {
    native: ManuallyDrop<Handle<CallbackContext>>,
    queue: Queue,
    /// librdkafka has a pointer to it.
    reports: Arc<Reports>,
    topics: Mutex<Topics>,
    states: Arc<TopicStates>,
    pub(super) cells: ManuallyDrop<Arc<Cells<R>>>,
}

/// By name. A handle is created once, outside of the lock; it is `None` if librdkafka refuses the name.
type Topics = HashMap<Box<str>, Arc<OnceLock<Option<Arc<Topic>>>>>;

/// The reports that arrived while the client ended, with the records that librdkafka had borrowed.
pub(crate) type LastReports<R> = Vec<(RawReport, Option<R>)>;

/// The main queue: errors, log lines and statistics.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka allows queues on any thread.
unsafe impl Send for Queue {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for Queue {}

impl<R> Client<R> {
    pub(crate) fn new(
        configured: &ClientConfig,
        native: NativeClientConfig,
        capacity: usize,
        context: CallbackContext,
        at_once: Option<AtOnce>,
        states: TopicStates,
    ) -> Result<Self, KafkaError> {
        let mut events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR | sys::RD_KAFKA_EVENT_LOG;
        // librdkafka answers requests for its own tokens itself, if they are not on the main queue.
        let unsecured_tokens = config::is_true(&native, config::UNSECURED_TOKENS);
        if unsecured_tokens {
            events |= sys::RD_KAFKA_EVENT_BACKGROUND;
            // SAFETY: the configuration is valid and belongs to us.
            unsafe { sys::rd_kafka_conf_enable_sasl_queue(native.ptr(), 1) };
        }
        // SAFETY: the configuration is valid and belongs to us.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), events | sys::RD_KAFKA_EVENT_STATS) };
        let reports = Arc::new(Reports::new(at_once));
        // SAFETY: the configuration is valid; the reports are dropped after the native client's end.
        unsafe { reports.subscribe(native.ptr()) };
        reports.connections().tell(&context.signals);
        // Some reasons of failed connections are only in lines of this level.
        let mut log_level = config::INFO;
        if !context.sinks.is_empty() {
            log_level = log_level.max(config::log_level(&native));
            // SAFETY: the configuration is valid; its opaque pointer will be the context, as the callback expects.
            unsafe { sys::rd_kafka_conf_set_throttle_cb(native.ptr(), Some(on_throttle)) };
        }
        #[cfg(all(test, feature = "embedded-broker"))]
        // SAFETY: the configuration is valid and belongs to us.
        unsafe {
            super::resolving::plug_in(native.ptr());
        }
        let native = Handle::new(configured, native, sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, context)?;
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_set_log_level(native.native_ptr(), log_level) };
        if unsecured_tokens {
            // SAFETY: the client is alive.
            let error = unsafe { sys::rd_kafka_sasl_background_callbacks_enable(native.native_ptr()) };
            // The error is null, unless another mechanism is configured.
            // SAFETY: the error belongs to us; null is allowed.
            unsafe { sys::rd_kafka_error_destroy(error) };
        }
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_get_main(native.native_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            return Err(KafkaError::ClientCreation("the client has no main queue".into()));
        };
        let opaque = Arc::as_ptr(native.context()).cast_mut().cast();
        // SAFETY: the queue is alive; the context is dropped after the native client's end.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_event), opaque) };
        Ok(Self {
            native: ManuallyDrop::new(native),
            queue: Queue(queue),
            reports,
            topics: Mutex::default(),
            states: Arc::new(states),
            cells: ManuallyDrop::new(Arc::new(Cells::new(capacity))),
        })
    }

    /// The handle of a topic, which is created if there is none; `None` if librdkafka refuses the name. A rule that reads values
    /// finds the records in `lent`.
    pub(crate) fn topic(
        &self,
        id: TopicId,
        name: &str,
        lent: Option<Weak<dyn Lent>>,
        partitioning: &Partitioning,
    ) -> Option<Arc<Topic>> {
        let place = Arc::clone(self.topics().entry(name.into()).or_default());
        let mut is_new = false;
        let topic = place.get_or_init(|| {
            is_new = true;
            let state = self.states.create(id, name, partitioning);
            let topic = Topic::new(self.ptr(), id, name, Arc::clone(&state), lent).map(Arc::new);
            if topic.is_some() {
                self.states.set(id, state);
            }
            topic
        });
        if is_new {
            self.context().signals.topic();
        }
        topic.clone()
    }

    /// Any topic that has a handle.
    pub(crate) fn any_topic(&self) -> Option<Arc<Topic>> {
        self.topics().values().find_map(|place| place.get().cloned().flatten())
    }

    /// The topics whose number of partitions is unknown.
    pub(crate) fn topics_without_partitions(&self) -> Vec<Arc<Topic>> {
        let created = |place: &Arc<OnceLock<Option<Arc<Topic>>>>| place.get().cloned().flatten();
        let topics: Vec<_> = self.topics().values().filter_map(created).collect();
        topics.into_iter().filter(|topic| !topic.state().has_partitions()).collect()
    }

    /// The handle of a topic, if one was created; the inner `None` means that librdkafka refuses the name.
    pub(crate) fn known_topic(&self, name: &str) -> Option<Option<Arc<Topic>>> {
        self.topics().get(name).and_then(|place| place.get().cloned())
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until librdkafka holds no message and every event with reports is destroyed, at most for the given time. Meanwhile
    /// librdkafka does not linger. True if nothing is left.
    pub(crate) fn flush(&self, timeout_ms: i32) -> bool {
        // SAFETY: the client is alive.
        let left = unsafe { sys::rd_kafka_flush(self.ptr(), timeout_ms) };
        left == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Makes librdkafka fail the records that it holds. Does not wait for their reports.
    pub(crate) fn purge(&self, queued: bool, in_flight: bool) {
        let mut flags = sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        if queued {
            flags |= sys::RD_KAFKA_PURGE_F_QUEUE;
        }
        if in_flight {
            flags |= sys::RD_KAFKA_PURGE_F_INFLIGHT;
        }
        // SAFETY: the client is alive. The flags are valid, so there is no error.
        unsafe { sys::rd_kafka_purge(self.ptr(), flags) };
    }

    /// The fatal error, if there was one.
    pub(crate) fn fatal(&self) -> Option<Failure> {
        // SAFETY: the client is alive, and no text is requested.
        let cause = unsafe { sys::rd_kafka_fatal_error(self.ptr(), ptr::null_mut(), 0) };
        match cause as i32 {
            0 => None,
            cause => Some(failure::fatal(cause)),
        }
    }

    /// Moves the unread delivery reports to the end of `into`. Reports of one partition are in order. Each message that
    /// `Polled::Freed` has counted is among the reports read so far, or was reported at once. The counts of all messages that
    /// have ended are moved to the end of `ended`.
    pub(crate) fn read_reports(&self, into: &mut Vec<RawReport>, ended: &mut Vec<Ended>) {
        self.reports.read(into, ended);
    }

    /// The topics that have a handle.
    pub(crate) fn topic_states(&self) -> &Arc<TopicStates> {
        &self.states
    }

    /// The number of `freed` messages that were reported at once, so they are not among the reports read.
    pub(crate) fn take_reported(&self, freed: usize) -> usize {
        self.reports.take_reported(freed)
    }

    /// The client's connections; they may be read after its end.
    pub(crate) fn connections(&self) -> Arc<ConnectionCounts> {
        Arc::clone(self.reports.connections())
    }

    /// The record of a message that has ended; `None` if the report is stale.
    pub(crate) fn reclaim(&self, report: &RawReport) -> Option<R> {
        // SAFETY: librdkafka has reported the message, and does not read the record's memory any more.
        unsafe { self.cells.take(report.slot) }
    }

    /// The records that librdkafka borrows, for rules that read values.
    pub(crate) fn lent(&self) -> Option<Weak<dyn Lent>>
    where
        R: Message,
    {
        Some(Arc::downgrade(&*self.cells) as Weak<dyn Lent>)
    }

    /// The records that librdkafka borrows, for the thread that ends the producer in time.
    pub(crate) fn cells(&self) -> Arc<Cells<R>> {
        Arc::clone(&self.cells)
    }

    /// Ends the native client, which blocks. Returns the reports that arrived until then, with their records if librdkafka had
    /// borrowed those, and the remaining records.
    pub(crate) fn close(self) -> (LastReports<R>, Arc<Cells<R>>) {
        let mut client = ManuallyDrop::new(self);
        client.destroy();
        let mut last = Vec::new();
        client.read_reports(&mut last, &mut Vec::new());
        let lent = |report: &RawReport| if report.copied { None } else { client.reclaim(report) };
        let last =
            last.into_iter().map(|report| (lent(&report), report)).map(|(record, report)| (report, record)).collect();
        // SAFETY: the wrapper prevents a second drop, and is not used any more.
        let topics = unsafe { ptr::read(&client.topics) };
        drop(topics);
        // SAFETY: as above.
        drop(unsafe { ptr::read(&client.states) });
        // SAFETY: as above; the native client, which has a pointer to it, has ended.
        drop(unsafe { ptr::read(&client.reports) });
        // SAFETY: as above; librdkafka does not borrow from the cells, since the native client has ended.
        let cells = unsafe { ManuallyDrop::take(&mut client.cells) };
        (last, cells)
    }

    pub(crate) fn context(&self) -> &Arc<CallbackContext> {
        self.native.context()
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.native.native_ptr()
    }

    pub(super) fn queue(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.0.as_ptr()
    }

    /// Destroys handles, queue and client. It is called once. Topic states and cells stay.
    fn destroy(&mut self) {
        let topics = self.topics.get_mut().unwrap_or_else(PoisonError::into_inner);
        for topic in topics.values().filter_map(|place| place.get()?.as_ref()) {
            // SAFETY: once for each handle; no thread is in a call, since `self` is exclusive.
            unsafe { topic.destroy() };
        }
        // SAFETY: once; no thread polls, since `self` is exclusive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.0.as_ptr()) };
        // SAFETY: once; the client is not used any more.
        unsafe { ManuallyDrop::drop(&mut self.native) };
    }
}

impl<R> Drop for Client<R> {
    fn drop(&mut self) {
        self.destroy();
        // SAFETY: once; librdkafka does not borrow from the cells, since the native client has ended.
        unsafe { ManuallyDrop::drop(&mut self.cells) };
    }
}
