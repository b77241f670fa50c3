//! Delivery reports and events, from librdkafka to the driver, in bulk.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Exchange, Message, Outcome, Report};

use crate::failure;
use crate::ffi::{Client, Polled, RawReport};
use crate::signals::Signals;

/// Reports that the driver gets in one call: who waits for one of them hears of it when it knows all. Of a few, that is to
/// be soon; of many, not so often that it disturbs the work: a quarter of what there is.
const CHUNK: RangeInclusive<usize> = 256..=4096;

/// Reports that a list has room for when it is empty. A longer one is a burst's, and would be kept for good.
const KEPT: usize = 2 * *CHUNK.end();

/// Reads reports and events. Any thread may do it; [`Signals`] see to it that one at a time does.
pub(crate) struct Reader<R> {
    /// Away while a thread reads: what it calls, it calls without a lock.
    state: Mutex<Option<Box<State<R>>>>,
}

struct State<R> {
    /// Not yet passed on.
    reports: Vec<RawReport>,
    /// Delivered records on their way back; reused from time to time.
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
        Self { reports: Vec::new(), delivered: Vec::new(), freed: 0, fatal: false }
    }
}

impl<R> Reader<R> {
    fn lock(&self) -> MutexGuard<'_, Option<Box<State<R>>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Message> Reader<R> {
    /// Passes on what there is to report, unless another thread is at it, which then does this, too.
    pub(crate) fn serve(&self, client: &Client<R>, exchange: &impl Exchange<R>, signals: &Signals) {
        while signals.begin_reading() {
            let mut turn = Turn { reader: self, signals, state: self.lock().take().unwrap_or_default() };
            turn.state.pass_on(client, exchange, false);
        }
    }

    /// Passes on what is left, for the thread that is the last.
    pub(crate) fn finish(&self, client: &Client<R>, exchange: &impl Exchange<R>) {
        let mut state = self.lock().take().unwrap_or_default();
        state.pass_on(client, exchange, true);
        *self.lock() = Some(state);
    }
}

/// A thread that reads. It ends its turn whatever happens.
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
    fn pass_on(&mut self, client: &Client<R>, exchange: &impl Exchange<R>, all: bool) {
        loop {
            match client.poll() {
                Polled::Nothing => break,
                Polled::Freed(count) => self.freed += count - client.settle_early(count),
                Polled::Fatal(failure) if !self.fatal => {
                    self.fatal = true;
                    exchange.fatal(failure);
                }
                Polled::Fatal(_) | Polled::Other => {}
            }
        }
        client.read_reports(&mut self.reports);
        // A report makes room for a record, so as many messages have to be gone. The others follow shortly.
        let count = if all { self.reports.len() } else { self.reports.len().min(self.freed) };
        self.freed = self.freed.saturating_sub(count);
        let size = (count / 4).clamp(*CHUNK.start(), *CHUNK.end());
        for chunk in self.reports[..count].chunks_mut(size) {
            report(client, exchange, chunk, &mut self.delivered);
        }
        self.reports.drain(..count);
        if self.reports.capacity() > KEPT {
            self.reports.shrink_to(KEPT);
        }
    }
}

fn report<R: Message>(
    client: &Client<R>,
    exchange: &impl Exchange<R>,
    reports: &mut [RawReport],
    delivered: &mut Vec<R>,
) {
    // Delivered records go back before their slots can be used again.
    let mut known = 0;
    for index in 0..reports.len() {
        let report = &reports[index];
        let lent = report.code == 0 && !report.copied;
        let record = if lent { client.reclaim(report) } else { None };
        if !lent || record.is_some() {
            reports.swap(known, index);
            known += 1;
        }
        delivered.extend(record);
    }
    if !delivered.is_empty() {
        exchange.release(delivered);
    }
    exchange.report(reports[..known].iter_mut().filter_map(|report| {
        let outcome = match outcome(report) {
            Some(outcome) => outcome,
            None => Outcome::Failed(failure::of(report.code, report.status), client.reclaim(report)?),
        };
        Some(Report { slot: report.slot, outcome })
    }));
}

/// What a report says by itself; `None` if there is a lent record to go with it, or its copy was told before.
fn outcome<R>(report: &mut RawReport) -> Option<Outcome<R>> {
    if report.code == 0 {
        return Some(Outcome::Delivered(report.delivered()));
    }
    let copy = report.copy.take()?;
    Some(Outcome::FailedCopy(failure::of(report.code, report.status), *copy))
}

/// The outcome of a copied record that was reported while the client came to its end.
pub(crate) fn last<R>(mut report: RawReport) -> Option<Report<R>> {
    let outcome = if report.copied { outcome(&mut report)? } else { return None };
    Some(Report { slot: report.slot, outcome })
}
