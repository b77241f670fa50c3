//! A backend that a test controls: it takes batches on demand, refuses and rejects records, reports in any order and twice, and
//! keeps what it has.

mod calls;
mod link;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aioproducer_core::backend::{
    Backend, BackendLimits, Connect, Delivered, Driver, ErrorCode, Failure, FailureKind, Message, Request, Status,
};
use aioproducer_core::{MessageBatch, SlotId};
use smol::channel::{self, Receiver, Sender};

use self::link::{Lent, Link};
use crate::executor::{Host, Joined};

pub use calls::{Asked, begun, retriable, to_abort};

/// The test's side of the backend. Clones control the same backend.
#[derive(Clone)]
pub struct Script(Arc<Inner>);

/// The producer's side.
pub struct ScriptedBackend(Arc<Inner>);

struct Inner {
    limits: BackendLimits,
    link: Mutex<Option<Arc<dyn Link>>>,
    woken: (Sender<()>, Receiver<()>),
    wakes: AtomicUsize,
    flushes: AtomicUsize,
    purges: Mutex<Vec<(bool, bool)>>,
    shut_downs: AtomicUsize,
    transactional: AtomicBool,
    calls: (Sender<Request>, Receiver<Request>),
    stays_up: AtomicBool,
    offsets: Mutex<BTreeMap<(String, i32), i64>>,
    log: Mutex<Vec<Seen>>,
}

/// A record as the backend saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The slot that it was taken with.
    pub slot: SlotId,
    /// Its topic's name.
    pub topic: String,
    /// Its partition, if it names one.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Its timestamp.
    pub timestamp: Option<i64>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The address of its payload in memory.
    pub address: usize,
}

impl Seen {
    /// The payload as text.
    ///
    /// # Panics
    /// When it is not text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.payload.as_deref().unwrap_or_default()).expect("a payload of text")
    }
}

/// The payloads of records, as text.
#[must_use]
pub fn texts(records: &[Seen]) -> Vec<&str> {
    records.iter().map(Seen::text).collect()
}

/// A failure with this kind and status.
#[must_use]
pub fn failure(kind: FailureKind, status: Status) -> Failure {
    Failure::new(kind, status, Some(ErrorCode::new(-7)), "the script says so")
}

/// Why a record of a batch did not go into the queue.
#[derive(Clone, Copy, Debug)]
pub enum NotQueued {
    /// The queue is full.
    Refused,
    /// This record can never be sent.
    Rejected(Failure),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// A backend for records of up to 1,000,000 bytes. Unless the producer sets another, the delivery timeout is a day, which
    /// is longer than any test lingers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_record_bytes(1_000_000)
    }

    /// A backend for records of up to `record_bytes`.
    #[must_use]
    pub fn with_record_bytes(record_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            limits: BackendLimits {
                delivery_timeout: Some(Duration::from_secs(86_400)),
                linger: Duration::ZERO,
                record_bytes,
                record_overhead: 0,
                record_setting: None,
                availability_timeout: None,
                transactional: false,
            },
            link: Mutex::new(None),
            woken: channel::unbounded(),
            wakes: AtomicUsize::new(0),
            flushes: AtomicUsize::new(0),
            purges: Mutex::default(),
            shut_downs: AtomicUsize::new(0),
            transactional: AtomicBool::new(false),
            calls: channel::unbounded(),
            stays_up: AtomicBool::new(false),
            offsets: Mutex::default(),
            log: Mutex::default(),
        }))
    }

    /// The backend for one producer.
    #[must_use]
    pub fn backend(&self) -> ScriptedBackend {
        ScriptedBackend(Arc::clone(&self.0))
    }

    fn link(&self) -> Option<Arc<dyn Link>> {
        lock(&self.0.link).clone()
    }

    /// Takes a batch, as an idle worker does.
    #[must_use]
    pub fn take(&self) -> Option<Hand> {
        let link = self.link()?;
        let (batch, records) = link.take()?;
        Some(Hand { batch, records, link })
    }

    /// The next batch: tries at once and after each wake-up. `None` at the end.
    pub async fn next(&self) -> Option<Hand> {
        loop {
            if let Some(hand) = self.take() {
                return Some(hand);
            }
            self.0.woken.1.recv().await.ok()?;
        }
    }

    /// Takes the next batch into the queue.
    ///
    /// # Panics
    /// When the backend ended.
    pub async fn accept(&self) -> Vec<Seen> {
        self.next().await.expect("a batch before the end").accept()
    }

    /// Reports records as delivered, in the given order.
    pub fn deliver<'a>(&self, records: impl IntoIterator<Item = &'a Seen>) {
        let mut reports = Vec::new();
        for record in records {
            let partition = record.partition.unwrap_or(0);
            let mut offsets = lock(&self.0.offsets);
            let offset = offsets.entry((record.topic.clone(), partition)).or_insert(0);
            reports.push((record.slot, Ok(Delivered::new(partition, Some(*offset), Some(1_000 + *offset)))));
            *offset += 1;
        }
        if let Some(link) = self.link() {
            link.report(reports);
        }
    }

    /// Reports a record as delivered at the start of its partition, as a backend does on a thread that must not block.
    /// `false` if the producer refuses.
    #[must_use]
    pub fn deliver_at_once(&self, record: &Seen) -> bool {
        let at = Delivered::new(record.partition.unwrap_or(0), Some(0), Some(1_000));
        self.link().is_some_and(|link| link.report_at_once(record.slot, at))
    }

    /// Reports a record as failed.
    pub fn fail(&self, record: &Seen, failure: Failure) {
        if let Some(link) = self.link() {
            link.report(vec![(record.slot, Err(failure))]);
        }
    }

    /// Takes, queues and delivers everything until the end, in a task. [`Script::log`] has what came.
    pub fn serve(&self, host: &Host) -> Joined<()> {
        let script = self.clone();
        host.spawn(async move {
            while let Some(hand) = script.next().await {
                let records = hand.accept();
                lock(&script.0.log).extend(records.iter().cloned());
                script.deliver(&records);
            }
        })
    }

    /// What [`Script::serve`] delivered.
    #[must_use]
    pub fn log(&self) -> Vec<Seen> {
        lock(&self.0.log).clone()
    }

    /// How often a worker was woken.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.0.wakes.load(Ordering::SeqCst)
    }

    /// How often a flush was asked for.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.0.flushes.load(Ordering::SeqCst)
    }

    /// The purges so far: of queued records, and of records in flight.
    #[must_use]
    pub fn purges(&self) -> Vec<(bool, bool)> {
        lock(&self.0.purges).clone()
    }

    /// How often a shut-down was asked for.
    #[must_use]
    pub fn shut_downs(&self) -> usize {
        self.0.shut_downs.load(Ordering::SeqCst)
    }

    /// Whether a flush waits.
    #[must_use]
    pub fn flushing(&self) -> bool {
        self.link().is_some_and(|link| link.flushing())
    }

    /// Reports a fatal error.
    pub fn fatal(&self, failure: Failure) {
        if let Some(link) = self.link() {
            link.fatal(failure);
        }
    }

    /// From now on a shut-down is only counted. [`Script::end`] carries it out.
    pub fn stay_up(&self) {
        self.0.stays_up.store(true, Ordering::SeqCst);
    }

    /// Fails all held records as purged, and ends.
    pub fn end(&self) {
        let Some(link) = lock(&self.0.link).take() else { return };
        let purged = failure(FailureKind::Purged, Status::PossiblyPersisted);
        link.report(link.held().into_iter().map(|slot| (slot, Err(purged))).collect());
        link.ended();
        self.0.woken.0.close();
        self.0.calls.0.close();
    }

    /// Access to the same producer for a thread that outlives the backend's end.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn late(&self) -> Late {
        Late(self.link().expect("before the end"))
    }

    /// Ends without reports, as a library that drops its messages.
    pub fn vanish(&self) {
        let Some(link) = lock(&self.0.link).take() else { return };
        link.ended();
        self.0.woken.0.close();
        self.0.calls.0.close();
    }
}

/// A thread of the backend that outlives the backend.
pub struct Late(Arc<dyn Link>);

impl Late {
    /// Reports a fatal error.
    pub fn fatal(&self, failure: Failure) {
        self.0.fatal(failure);
    }

    /// Reports a record as failed.
    pub fn fail(&self, record: &Seen, failure: Failure) {
        self.0.report(vec![(record.slot, Err(failure))]);
    }

    /// Reports the end once more.
    pub fn end(&self) {
        self.0.ended();
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}

/// A batch that was taken and not settled yet.
pub struct Hand {
    batch: MessageBatch,
    records: Vec<Seen>,
    link: Arc<dyn Link>,
}

impl Hand {
    /// The batch.
    #[must_use]
    pub fn batch(&self) -> &MessageBatch {
        &self.batch
    }

    /// Its records.
    #[must_use]
    pub fn records(&self) -> &[Seen] {
        &self.records
    }

    /// Takes all records into the queue.
    pub fn accept(self) -> Vec<Seen> {
        self.settle(|_| None)
    }

    /// Takes the first `count` records into the queue, which is full then.
    pub fn refuse_after(self, count: usize) -> Vec<Seen> {
        self.settle(|at| (at >= count).then_some(NotQueued::Refused))
    }

    /// Takes every record into the queue for whose place in the batch `refusal` is `None`.
    pub fn settle(self, refusal: impl Fn(usize) -> Option<NotQueued>) -> Vec<Seen> {
        let unsent = self.records.iter().enumerate().filter_map(|(at, record)| Some((record.slot, refusal(at)?)));
        self.link.settle(self.batch, unsent.collect());
        self.records
    }
}

impl<R: Message> Connect<R> for ScriptedBackend {
    type Error = Infallible;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
        let limits = self.0.limits;
        Ok(BackendLimits {
            delivery_timeout: delivery_timeout.or(limits.delivery_timeout),
            transactional: self.0.transactional.load(Ordering::SeqCst),
            ..limits
        })
    }

    /// It has no threads, so only the test decides when time passes.
    fn is_real_time(&self) -> bool {
        false
    }

    fn connect<E: Driver<R>>(self, driver: Arc<E>, _capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
        *lock(&self.0.link) = Some(Arc::new(Lent { driver, held: Mutex::default() }));
        Ok(Arc::new(self))
    }
}

impl Backend for ScriptedBackend {
    fn wake(&self) {
        self.0.wakes.fetch_add(1, Ordering::SeqCst);
        // The channel is closed after the end.
        let _ = self.0.woken.0.try_send(());
    }

    fn flush(&self) {
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        lock(&self.0.purges).push((queued, in_flight));
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        self.0.calls.0.try_send(*request).map_err(|refused| Box::new(refused.into_inner()))
    }

    fn shut_down(&self) {
        self.0.shut_downs.fetch_add(1, Ordering::SeqCst);
        if !self.0.stays_up.load(Ordering::SeqCst) {
            Script(Arc::clone(&self.0)).end();
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("wakes", &self.wakes()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ScriptedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedBackend").finish_non_exhaustive()
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").field("batch", &self.batch).field("records", &self.records).finish_non_exhaustive()
    }
}
