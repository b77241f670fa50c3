//! The native client and everything that must live exactly as long as it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
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
#[cfg(doc)]
use super::events::Polled;
use super::events::{Listeners, on_event, on_throttle};
use super::reports::{AtOnce, RawReport, Reports};
use super::topic::Topic;
use crate::config;
use crate::partition::choice::{Partitioning, TopicState};
use crate::reports::failure;

/// A producer client with the records that it borrows.
pub(crate) struct Client<R> {
    /// With those whom librdkafka's callbacks tell.
    native: ManuallyDrop<Handle<Listeners>>,
    queue: Queue,
    /// librdkafka points to it.
    reports: Arc<Reports>,
    topics: Mutex<Topics>,
    pub(super) cells: ManuallyDrop<Arc<Cells<R>>>,
}

/// By name. A handle is made outside of the lock, once; none is there if librdkafka refused.
type Topics = HashMap<Box<str>, Arc<OnceLock<Option<Arc<Topic>>>>>;

/// What was reported while the client came to its end, with the records that were lent.
pub(crate) type LastReports<R> = Vec<(RawReport, Option<R>)>;

/// The main queue: errors, log lines and statistics.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for Queue {}

impl<R> Client<R> {
    pub(crate) fn new(
        configured: &ClientConfig,
        native: NativeClientConfig,
        capacity: usize,
        listeners: Listeners,
        at_once: Option<AtOnce>,
    ) -> Result<Self, KafkaError> {
        let mut events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR | sys::RD_KAFKA_EVENT_LOG;
        // On the main queue a request for one of librdkafka's own tokens would be an event that nobody can answer.
        let unsecured_tokens = native.get(config::UNSECURED_TOKENS).is_ok_and(|value| value == "true");
        if unsecured_tokens {
            events |= sys::RD_KAFKA_EVENT_BACKGROUND;
            // SAFETY: the configuration is valid and ours.
            unsafe { sys::rd_kafka_conf_enable_sasl_queue(native.ptr(), 1) };
        }
        // SAFETY: the configuration is valid and ours.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), events | sys::RD_KAFKA_EVENT_STATS) };
        let reports = Arc::new(Reports::new(at_once));
        // SAFETY: the configuration is valid; the reports go with the client, after the native client's end.
        unsafe { reports.subscribe(native.ptr()) };
        // Why a connection fails is told by lines of that level alone, sometimes.
        let mut log_level = config::INFO;
        if !listeners.sinks.is_empty() {
            log_level = log_level.max(config::log_level(&native));
            // SAFETY: the configuration is valid; its opaque pointer will be one to the listeners, as the callback expects.
            unsafe { sys::rd_kafka_conf_set_throttle_cb(native.ptr(), Some(on_throttle)) };
        }
        #[cfg(all(test, feature = "embedded-broker"))]
        // SAFETY: the configuration is valid and ours.
        unsafe {
            super::resolving::plug_in(native.ptr());
        }
        let native = Handle::new(configured, native, sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, listeners)?;
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_set_log_level(native.native_ptr(), log_level) };
        if unsecured_tokens {
            // SAFETY: the client is alive.
            let error = unsafe { sys::rd_kafka_sasl_background_callbacks_enable(native.native_ptr()) };
            // Null, unless another mechanism is configured.
            // SAFETY: ours to destroy, and null is fine.
            unsafe { sys::rd_kafka_error_destroy(error) };
        }
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_get_main(native.native_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            return Err(KafkaError::ClientCreation("it has no main queue".into()));
        };
        let opaque = Arc::as_ptr(native.context()).cast_mut().cast();
        // SAFETY: the queue is alive; the context goes with the native client, after its end.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_event), opaque) };
        Ok(Self {
            native: ManuallyDrop::new(native),
            queue: Queue(queue),
            reports,
            topics: Mutex::default(),
            cells: ManuallyDrop::new(Arc::new(Cells::new(capacity))),
        })
    }

    /// Creates a topic's handle, or finds it; `None` if librdkafka refuses the name.
    /// `lent` is where its records are, for a rule that reads their values.
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
            let seed = BuildHasher::hash_one(&RandomState::new(), id.0);
            let state = TopicState::new(name, partitioning.clone(), seed);
            Topic::new(self.ptr(), id, name, state, lent).map(Arc::new)
        });
        if is_new {
            self.listeners().signals.topic();
        }
        topic.clone()
    }

    /// A topic that has a handle.
    pub(crate) fn any_topic(&self) -> Option<Arc<Topic>> {
        self.topics().values().find_map(|place| place.get().cloned().flatten())
    }

    /// Topics whose partitions nobody has told yet.
    pub(crate) fn topics_without_partitions(&self) -> Vec<Arc<Topic>> {
        let made = |place: &Arc<OnceLock<Option<Arc<Topic>>>>| place.get().cloned().flatten();
        let topics: Vec<_> = self.topics().values().filter_map(made).collect();
        topics.into_iter().filter(|topic| !topic.state().has_partitions()).collect()
    }

    /// A topic's handle, if one was made; `None` inside if librdkafka has refused its name.
    pub(crate) fn known_topic(&self, name: &str) -> Option<Option<Arc<Topic>>> {
        self.topics().get(name).and_then(|place| place.get().cloned())
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until librdkafka holds no message and every event with reports was destroyed, or for the given time. Until
    /// it returns lingering batches are sent at once. True if nothing is left.
    pub(crate) fn flush(&self, timeout_ms: i32) -> bool {
        // SAFETY: the client is alive.
        let left = unsafe { sys::rd_kafka_flush(self.ptr(), timeout_ms) };
        left == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Asks librdkafka to fail what it holds, and does not wait for it.
    pub(crate) fn purge(&self, queued: bool, in_flight: bool) {
        let mut flags = sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        if queued {
            flags |= sys::RD_KAFKA_PURGE_F_QUEUE;
        }
        if in_flight {
            flags |= sys::RD_KAFKA_PURGE_F_INFLIGHT;
        }
        // SAFETY: the client is alive; the flags are valid, so there is no error to answer to.
        unsafe { sys::rd_kafka_purge(self.ptr(), flags) };
    }

    /// What the client cannot recover from, if that has happened.
    pub(crate) fn fatal(&self) -> Option<Failure> {
        // SAFETY: the client is alive, and no text is asked for.
        let cause = unsafe { sys::rd_kafka_fatal_error(self.ptr(), ptr::null_mut(), 0) };
        match cause as i32 {
            0 => None,
            cause => Some(failure::fatal(cause)),
        }
    }

    /// Moves the unread delivery reports to the end of `into`. Those of one partition are in order, and each message that
    /// [`Polled::Freed`] counted has its report among those read so far.
    pub(crate) fn read_reports(&self, into: &mut Vec<RawReport>) {
        self.reports.read(into);
    }

    /// Of so many messages that were freed, those whose reports were told at once and are not among those that are read.
    pub(crate) fn settle_early(&self, freed: usize) -> usize {
        self.reports.settle_early(freed)
    }

    /// The record of a message that has ended; `None` if the report is stale.
    pub(crate) fn reclaim(&self, report: &RawReport) -> Option<R> {
        // SAFETY: librdkafka reported the message, after which it does not look at the record's memory any more.
        unsafe { self.cells.take(report.slot) }
    }

    /// The lent records, for those who look at them while librdkafka has them.
    pub(crate) fn lent(&self) -> Option<Weak<dyn Lent>>
    where
        R: Message,
    {
        Some(Arc::downgrade(&*self.cells) as Weak<dyn Lent>)
    }

    /// Where lent records are, for somebody who looks at them without the client.
    pub(crate) fn cells(&self) -> Arc<Cells<R>> {
        Arc::clone(&self.cells)
    }

    /// Ends the native client, which blocks. Gives back the reports that came until then, with their records if those were
    /// lent, and where the lent records are that are left.
    pub(crate) fn close(self) -> (LastReports<R>, Arc<Cells<R>>) {
        let mut client = ManuallyDrop::new(self);
        client.destroy();
        let mut last = Vec::new();
        client.read_reports(&mut last);
        let lent = |report: &RawReport| if report.copied { None } else { client.reclaim(report) };
        let last =
            last.into_iter().map(|report| (lent(&report), report)).map(|(record, report)| (report, record)).collect();
        // SAFETY: the wrapper forbids a second drop and is not used any more.
        let topics = unsafe { ptr::read(&client.topics) };
        drop(topics);
        // SAFETY: as above; the native client, which points to it, is gone.
        drop(unsafe { ptr::read(&client.reports) });
        // SAFETY: as above; nothing borrows from the cells since the native client is gone.
        let cells = unsafe { ManuallyDrop::take(&mut client.cells) };
        (last, cells)
    }

    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        self.native.context()
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.native.native_ptr()
    }

    pub(super) fn queue(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.0.as_ptr()
    }

    /// Destroys handles, queue and client; to be called once. Topic states and cells stay.
    fn destroy(&mut self) {
        let topics = self.topics.get_mut().unwrap_or_else(PoisonError::into_inner);
        for topic in topics.values().filter_map(|place| place.get()?.as_ref()) {
            // SAFETY: once for each handle, and no thread is inside a call since `self` is exclusive.
            unsafe { topic.destroy() };
        }
        // SAFETY: once, and nobody polls since `self` is exclusive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.0.as_ptr()) };
        // SAFETY: once, and the client is not used any more.
        unsafe { ManuallyDrop::drop(&mut self.native) };
    }
}

impl<R> Drop for Client<R> {
    fn drop(&mut self) {
        self.destroy();
        // SAFETY: once; nothing borrows from the cells since the native client is gone.
        unsafe { ManuallyDrop::drop(&mut self.cells) };
    }
}
