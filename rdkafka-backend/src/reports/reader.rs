//! Reads reports and events, one thread at a time.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aioproducer_core::backend::{Driver, Message};

use crate::coordination::Signals;
use crate::ffi::{Client, Ended, Polled, RawReport};
use crate::reports::outcome::report;

/// Reports that the driver gets in one call. Tasks are woken when the driver has all reports of a call. Few reports should be
/// there soon; with many, calls should not disturb the work too often. So a call gets a quarter of the reports, within this range.
const CHUNK: RangeInclusive<usize> = 256..=4096;

/// Events that are read before reports are passed on, so log lines that arrive faster than they are read delay no report.
const EVENTS: usize = 1024;

/// The capacity that an empty list keeps. More than that is left over from a burst.
const KEPT: usize = 2 * *CHUNK.end();

/// Reads reports and events. Any thread may call it; [`Signals`] ensure that one at a time reads.
pub(crate) struct Reader<R> {
    /// Taken out by the thread that reads, which then calls the driver without a lock.
    state: Mutex<Option<Box<State<R>>>>,
}

struct State<R> {
    /// Not yet passed on.
    reports: Vec<RawReport>,
    /// Empty; reused from time to time.
    ended: Vec<Ended>,
    /// Delivered records to release; reused from time to time.
    delivered: Vec<R>,
    /// Messages that were freed and whose reports were not passed on.
    freed: usize,
    /// The driver knows of a fatal error.
    fatal: bool,
}

impl<R> Default for Reader<R> {
    fn default() -> Self {
        Self { state: Mutex::new(None) }
    }
}

impl<R> Default for State<R> {
    fn default() -> Self {
        Self { reports: Vec::new(), ended: Vec::new(), delivered: Vec::new(), freed: 0, fatal: false }
    }
}

impl<R> Reader<R> {
    fn lock(&self) -> MutexGuard<'_, Option<Box<State<R>>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Message> Reader<R> {
    /// Passes on the reports and events that there are, unless another thread is doing so.
    pub(crate) fn read(&self, client: &Client<R>, driver: &impl Driver<R>, signals: &Signals) {
        if signals.begin_reading() {
            let mut turn = Turn { reader: self, signals, state: self.lock().take().unwrap_or_default() };
            if !turn.state.pass_on(client, driver, false) {
                signals.report();
            }
        }
    }

    /// Passes on all remaining reports, when no other thread reads any more.
    pub(crate) fn finish(&self, client: &Client<R>, driver: &impl Driver<R>) {
        let mut state = self.lock().take().unwrap_or_default();
        while !state.pass_on(client, driver, true) {}
        *self.lock() = Some(state);
    }
}

/// The turn of a thread that reads. It ends also if the thread panics.
struct Turn<'a, R> {
    reader: &'a Reader<R>,
    signals: &'a Signals,
    state: Box<State<R>>,
}

impl<R> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        *self.reader.lock() = Some(std::mem::take(&mut self.state));
        self.signals.end_reading();
    }
}

impl<R: Message> State<R> {
    /// False if there may be more to read.
    fn pass_on(&mut self, client: &Client<R>, driver: &impl Driver<R>, all: bool) -> bool {
        let (drained, reported_at_once) = self.read_events(client, driver);
        if reported_at_once {
            // The driver has deferred work that must not run on librdkafka's threads.
            driver.report(std::iter::empty());
        }
        client.read_reports(&mut self.reports, &mut self.ended);
        self.count_ended(client);
        let router = &client.context().router;
        if router.has_trouble() && self.reports.iter().any(|report| report.code == 0) {
            router.delivered(driver);
        }
        // A report makes room for a record, so its message must be freed. The messages of the other reports follow soon.
        let count = if all { self.reports.len() } else { self.reports.len().min(self.freed) };
        self.freed = self.freed.saturating_sub(count);
        let size = (count / 4).clamp(*CHUNK.start(), *CHUNK.end());
        for chunk in self.reports[..count].chunks_mut(size) {
            report(client, driver, chunk, &mut self.delivered);
        }
        self.reports.drain(..count);
        if self.reports.capacity() > KEPT {
            self.reports.shrink_to(KEPT);
        }
        drained
    }

    /// Notes for each topic which of its partitions answer.
    fn count_ended(&mut self, client: &Client<R>) {
        if self.ended.is_empty() {
            return;
        }
        let now = Instant::now();
        for Ended { topic, partition, count, answer } in self.ended.drain(..) {
            if let Some(state) = client.topic_states().get(topic) {
                state.ended(partition, count, answer, now);
            }
        }
        if self.ended.capacity() > KEPT {
            self.ended.shrink_to(KEPT);
        }
    }

    /// Reads up to [`EVENTS`] events. Returns whether the queue is empty, and whether messages were freed that were reported at
    /// once.
    fn read_events(&mut self, client: &Client<R>, driver: &impl Driver<R>) -> (bool, bool) {
        let mut reported_at_once = false;
        for _ in 0..EVENTS {
            match client.poll() {
                Polled::Nothing => return (true, reported_at_once),
                Polled::Freed(count) => {
                    let reported = client.take_reported(count);
                    self.freed += count - reported;
                    reported_at_once |= reported > 0;
                }
                Polled::Error(error) => {
                    let context = client.context();
                    context.router.error(&context.sinks, driver, error);
                    // The event of a fatal error may have the code of its cause, so only the client knows whether it is fatal.
                    if !self.fatal
                        && let Some(failure) = client.fatal()
                    {
                        self.fatal = true;
                        driver.fatal(failure);
                    }
                }
                Polled::Log(line) => {
                    let context = client.context();
                    context.router.line(&context.sinks, driver, line);
                }
                Polled::Other => {}
            }
        }
        (false, reported_at_once)
    }
}
