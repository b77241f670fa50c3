//! The end in time: what librdkafka does not end goes on by itself, and the driver has the last word all the same.
//!
//! `rd_kafka_destroy` waits for all of librdkafka's threads, and one of them may be resolving a name or wait for a lock. The
//! control thread, which owns the client and what it borrows, waits with it. So another thread watches the clock, and if
//! time is up it shuts the gate and says the last word. From then on the client is *left behind*.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Driver, Message, Outcome, Report};

use crate::events::{Event, LogLevel, LogLine, RawEvent};
use crate::ffi::{Cells, Listeners};
use crate::reports::failure;
use crate::threads::broker_calls;
use crate::threads::gate::Gate;
use crate::threads::signals::Signals;

/// How long librdkafka has for its end, from when that was asked for. A close is to be over 200 ms after its time; a full pool,
/// which comes back then, and a busy machine need some of that.
const TIME: Duration = Duration::from_millis(120);

const MESSAGE: &str = "the producer has ended, and librdkafka's client has not: something in it cannot be ended. Its threads, \
                       its connections and its records stay until that is over";

static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

/// How many of librdkafka's clients in this process have outlived their producers, because librdkafka could not end them: a
/// broker's name is being resolved, a call waits for an answer, a partitioner does not return. Each keeps its threads, its
/// connections and the records that it had until that is over, and tells nobody anything.
///
/// When it happens, a line of the log says so ([`LogLine`], with the facility `LEFT`).
///
/// ```
/// assert_eq!(aioproducer_rdkafka::clients_left_behind(), 0);
/// ```
#[must_use]
pub fn clients_left_behind() -> usize {
    LEFT_BEHIND.load(Ordering::SeqCst)
}

/// A client that was left behind has come to its end.
pub(crate) fn caught_up() {
    LEFT_BEHIND.fetch_sub(1, Ordering::SeqCst);
}

/// A lent record that comes back without a report.
pub(crate) fn dropped<R>((slot, record): (SlotId, R)) -> Report<R> {
    Report { slot, outcome: Outcome::Failed(failure::dropped(), record) }
}

/// One producer's.
pub(crate) struct End<R, E>(Mutex<Stage<R, E>>);

enum Stage<R, E> {
    Ahead(Watch<R, E>),
    /// It is watched over; without a thread it takes as long as librdkafka does.
    Begun(Option<JoinHandle<()>>),
}

/// What the thread needs that watches.
struct Watch<R, E> {
    gate: Arc<Gate<E>>,
    cells: Arc<Cells<R>>,
    listeners: Arc<Listeners>,
    signals: Arc<Signals>,
}

impl<R: Message, E: Driver<R>> End<R, E> {
    pub(crate) fn new(
        gate: Arc<Gate<E>>,
        cells: Arc<Cells<R>>,
        listeners: Arc<Listeners>,
        signals: Arc<Signals>,
    ) -> Self {
        Self(Mutex::new(Stage::Ahead(Watch { gate, cells, listeners, signals })))
    }

    /// The end is asked for, or is about to be. It does not wait.
    pub(crate) fn begin(&self) {
        let due = Instant::now() + TIME;
        let mut stage = self.lock();
        if let Stage::Ahead(watch) = std::mem::replace(&mut *stage, Stage::Begun(None)) {
            let thread = Builder::new().name("aioproducer-end".into()).spawn(move || watch.run(due));
            *stage = Stage::Begun(thread.ok());
        }
    }

    /// The client has ended, or there is none: the thread that watches has nothing to wait for.
    pub(crate) fn finish(&self) -> Option<JoinHandle<()>> {
        match std::mem::replace(&mut *self.lock(), Stage::Begun(None)) {
            Stage::Ahead(_) => None,
            Stage::Begun(thread) => thread,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage<R, E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Message, E: Driver<R>> Watch<R, E> {
    fn run(self, due: Instant) {
        let Some(driver) = self.gate.shut_at(due) else { return };
        LEFT_BEHIND.fetch_add(1, Ordering::SeqCst);
        self.listeners.sinks.tell(|| {
            let (level, facility) = (LogLevel::Warning, String::from("LEFT"));
            RawEvent::Event(Event::Log(LogLine { level, facility, message: MESSAGE.into() }))
        });
        self.listeners.close();
        broker_calls::leave(&*driver, &self.signals);
        // librdkafka may read the records, so they stay where they are.
        driver.report(self.cells.duplicates().into_iter().map(dropped));
        driver.ended();
    }
}
