//! Delivery reports and events, from librdkafka to the driver, in bulk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Delivered, Exchange, Message, Outcome, Report};

use crate::events;
use crate::failure;
use crate::ffi::{Client, Polled, RawReport};
use crate::signals::Signals;

/// Reports that the driver gets in one call, which is under its lock.
const CHUNK: usize = 64;

/// Reads reports and events. Any thread may do it; [`Signals`] see to it that one at a time does.
#[derive(Default)]
pub(crate) struct Reader {
    /// Away while a thread reads: what it calls, it calls without a lock.
    state: Mutex<Option<Box<State>>>,
}

#[derive(Default)]
struct State {
    /// Not yet passed on.
    reports: Vec<RawReport>,
    /// Messages that were freed and whose reports were not passed on.
    freed: usize,
    /// The driver knows of a fatal error.
    fatal: bool,
}

impl Reader {
    fn lock(&self) -> MutexGuard<'_, Option<Box<State>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what there is to report, unless another thread is at it, which then does this, too.
    pub(crate) fn serve<R: Message>(&self, client: &Client<R>, exchange: &impl Exchange<R>, signals: &Signals) {
        while signals.begin_reading() {
            let mut turn = Turn { reader: self, signals, state: self.lock().take().unwrap_or_default() };
            turn.state.pass_on(client, exchange, false);
        }
    }

    /// Passes on what is left, for the thread that is the last.
    pub(crate) fn finish<R: Message>(&self, client: &Client<R>, exchange: &impl Exchange<R>) {
        let mut state = self.lock().take().unwrap_or_default();
        state.pass_on(client, exchange, true);
        *self.lock() = Some(state);
    }
}

/// A thread that reads. It ends its turn whatever happens.
struct Turn<'a> {
    reader: &'a Reader,
    signals: &'a Signals,
    state: Box<State>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.reader.lock() = Some(std::mem::take(&mut self.state));
        self.signals.end_reading();
    }
}

impl State {
    fn pass_on<R: Message>(&mut self, client: &Client<R>, exchange: &impl Exchange<R>, all: bool) {
        loop {
            match client.poll() {
                Polled::Nothing => break,
                Polled::Freed(count) => self.freed += count,
                Polled::Fatal(failure) if !self.fatal => {
                    self.fatal = true;
                    events::fatal(exchange, failure);
                }
                Polled::Fatal(_) | Polled::Other => {}
            }
        }
        client.read_reports(&mut self.reports);
        // A report makes room for a record, so as many messages have to be gone. The others follow shortly.
        let count = if all { self.reports.len() } else { self.reports.len().min(self.freed) };
        self.freed = self.freed.saturating_sub(count);
        for chunk in self.reports[..count].chunks_mut(CHUNK) {
            report(client, exchange, chunk);
        }
        self.reports.drain(..count);
    }
}

fn report<R: Message>(client: &Client<R>, exchange: &impl Exchange<R>, reports: &mut [RawReport]) {
    // Delivered records are dropped here, outside of the driver's lock and before their slots can be used again.
    let mut known = 0;
    for index in 0..reports.len() {
        let report = reports[index];
        if report.code != 0 || client.discard(&report) {
            reports[known] = report;
            known += 1;
        }
    }
    exchange.report(reports[..known].iter().filter_map(|report| {
        let outcome = if report.code == 0 {
            let RawReport { partition, offset, timestamp, .. } = *report;
            Outcome::Delivered(Delivered { partition, offset: offset.max(-1), timestamp })
        } else {
            Outcome::Failed(failure::of(report.code, report.status), client.reclaim(report)?)
        };
        Some(Report { slot: report.slot, outcome })
    }));
}
