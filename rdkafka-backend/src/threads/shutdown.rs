//! Ends the producer in time. What librdkafka cannot end goes on, but the driver gets its last call.
//!
//! `rd_kafka_destroy` waits for all of librdkafka's threads, and one of them may be resolving a host name or waiting for a lock.
//! The control thread, which owns the client and the borrowed records, waits with it. So a watchdog thread watches the clock.
//! When the time has passed, it cuts the link to the driver and makes the last call. The client is then *left behind*.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Driver, Message, Outcome, Report};

use crate::coordination::Signals;
use crate::events::{Event, LogLevel, LogLine, RawEvent};
use crate::failure;
use crate::ffi::{CallbackContext, Cells};
use crate::threads::broker_calls;
use crate::threads::driver_link::DriverLink;

/// How long librdkafka may take to end. A close must be over 200 ms after its deadline; giving back the records of a full pool, on
/// a busy machine, takes the rest of that time.
const LIMIT: Duration = Duration::from_millis(120);

const LEFT_BEHIND: &str = "the producer has ended, but librdkafka's client has not: a part of it cannot be ended now. Its threads, \
                           connections and records stay until it ends";

static CLIENTS: AtomicUsize = AtomicUsize::new(0);

/// The number of librdkafka clients in this process that have outlived their producers, because librdkafka could not end them
/// in time: a host name is being resolved, a call waits for an answer, or a partitioner does not return. Such a client keeps its
/// threads, connections and records until it ends, and reports nothing more.
///
/// When this happens, the event stream gets a [`LogLine`] with the facility `LEFT`.
///
/// ```
/// assert_eq!(aioproducer_rdkafka::clients_left_behind(), 0);
/// ```
#[must_use]
pub fn clients_left_behind() -> usize {
    CLIENTS.load(Ordering::SeqCst)
}

/// A client that was left behind has ended.
pub(super) fn client_has_ended() {
    CLIENTS.fetch_sub(1, Ordering::SeqCst);
}

/// The report of a borrowed record that comes back without one.
pub(super) fn dropped<R>((slot, record): (SlotId, R)) -> Report<R> {
    Report { slot, outcome: Outcome::Failed(failure::dropped(), record) }
}

/// The shutdown of one client.
pub(crate) struct Shutdown<R, E> {
    stage: Mutex<Stage<R, E>>,
    link: Arc<DriverLink<E>>,
}

enum Stage<R, E> {
    NotBegun(Watchdog<R, E>),
    /// The watchdog runs. If its thread could not be started, the end takes as long as librdkafka takes.
    Begun(Option<JoinHandle<()>>),
}

struct Watchdog<R, E> {
    link: Arc<DriverLink<E>>,
    cells: Arc<Cells<R>>,
    context: Arc<CallbackContext>,
    signals: Arc<Signals>,
}

impl<R: Message, E: Driver<R>> Shutdown<R, E> {
    pub(super) fn new(
        link: Arc<DriverLink<E>>,
        cells: Arc<Cells<R>>,
        context: Arc<CallbackContext>,
        signals: Arc<Signals>,
    ) -> Self {
        let watchdog = Watchdog { link: Arc::clone(&link), cells, context, signals };
        Self { stage: Mutex::new(Stage::NotBegun(watchdog)), link }
    }

    /// Starts the watchdog of a producer that ends. Does not block.
    pub(super) fn begin(&self) {
        self.begin_within(LIMIT);
    }

    /// Starts the watchdog, or shortens its time.
    pub(super) fn begin_within(&self, limit: Duration) {
        self.link.set_due(Instant::now() + limit);
        let mut stage = self.lock();
        if let Stage::NotBegun(watchdog) = std::mem::replace(&mut *stage, Stage::Begun(None)) {
            let thread = Builder::new().name("aioproducer-end".into()).spawn(move || watchdog.run());
            *stage = Stage::Begun(thread.ok());
        }
    }

    /// The client has ended, or was never started: the watchdog is not needed any more. Returns its thread.
    pub(super) fn finish(&self) -> Option<JoinHandle<()>> {
        match std::mem::replace(&mut *self.lock(), Stage::Begun(None)) {
            Stage::NotBegun(_) => None,
            Stage::Begun(thread) => thread,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage<R, E>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Message, E: Driver<R>> Watchdog<R, E> {
    fn run(self) {
        let Some(driver) = self.link.cut_when_due() else { return };
        CLIENTS.fetch_add(1, Ordering::SeqCst);
        self.context.sinks.write(|| {
            let (level, facility) = (LogLevel::Warning, String::from("LEFT"));
            RawEvent::Event(Event::Log(LogLine { level, facility, message: LEFT_BEHIND.into() }))
        });
        self.context.close();
        broker_calls::answer_all(&*driver, &self.signals);
        // librdkafka may still read the records, so they stay and the driver gets copies.
        driver.report(self.cells.duplicates().into_iter().map(dropped));
        driver.ended();
    }
}
