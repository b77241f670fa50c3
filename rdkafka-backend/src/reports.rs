//! Delivery reports and events, from librdkafka to the driver, in bulk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Copied, Delivered, Exchange, Message, Outcome, Report};

use crate::failure;
use crate::ffi::{Client, Polled, RawReport, Unread};
use crate::signals::Signals;

/// Reports that the driver gets in one call: who waits for one of them hears of it when it knows all.
const CHUNK: usize = 1024;

/// Reads reports and events. Any thread may do it; [`Signals`] see to it that one at a time does.
pub(crate) struct Reader<R> {
    /// Away while a thread reads: what it calls, it calls without a lock.
    state: Mutex<Option<Box<State<R>>>>,
}

struct State<R> {
    /// Not yet passed on.
    unread: Unread,
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
        Self { unread: Unread::default(), delivered: Vec::new(), freed: 0, fatal: false }
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
                Polled::Freed(count) => self.freed += count,
                Polled::Fatal(failure) if !self.fatal => {
                    self.fatal = true;
                    exchange.fatal(failure);
                }
                Polled::Fatal(_) | Polled::Other => {}
            }
        }
        client.read_reports(&mut self.unread);
        let Unread { reports, copies } = &mut self.unread;
        // A report makes room for a record, so as many messages have to be gone. The others follow shortly.
        let count = if all { reports.len() } else { reports.len().min(self.freed) };
        self.freed = self.freed.saturating_sub(count);
        for chunk in reports[..count].chunks_mut(CHUNK) {
            report(client, exchange, chunk, copies, &mut self.delivered);
        }
        reports.drain(..count);
    }
}

fn report<R: Message>(
    client: &Client<R>,
    exchange: &impl Exchange<R>,
    reports: &mut [RawReport],
    copies: &mut VecDeque<Copied>,
    delivered: &mut Vec<R>,
) {
    // Delivered records go back before their slots can be used again.
    let mut known = 0;
    for index in 0..reports.len() {
        let report = reports[index];
        let in_cell = report.code == 0 && !report.copied;
        let record = if in_cell { client.reclaim(&report) } else { None };
        if !in_cell || record.is_some() {
            reports[known] = report;
            known += 1;
        }
        delivered.extend(record);
    }
    if !delivered.is_empty() {
        exchange.release(delivered);
    }
    exchange.report(reports[..known].iter().filter_map(|report| {
        let outcome = if report.code == 0 {
            let RawReport { partition, offset, timestamp, .. } = *report;
            Outcome::Delivered(Delivered { partition, offset: offset.max(-1), timestamp })
        } else {
            let failure = failure::of(report.code, report.status);
            match report.copied {
                true => Outcome::FailedCopy(failure, copies.pop_front()?),
                false => Outcome::Failed(failure, client.reclaim(report)?),
            }
        };
        Some(Report { slot: report.slot, outcome })
    }));
}
