//! Delivery reports and events, from librdkafka to the driver, in bulk.

use std::sync::{Mutex, PoisonError, TryLockError};

use aioproducer_core::backend::{Delivered, Exchange, Message, Outcome, Report};

use crate::events;
use crate::failure;
use crate::ffi::{Client, Polled, RawReport};
use crate::signals::Signals;

/// Reports that the driver gets in one call, which is under its lock.
const CHUNK: usize = 64;

/// Reads reports and events. Any thread may do it; one at a time does.
pub(crate) struct Reader<R> {
    state: Mutex<State<R>>,
}

struct State<R> {
    /// Reused from time to time.
    reports: Vec<RawReport>,
    /// The same, for delivered records on their way back.
    delivered: Vec<R>,
    /// The driver knows of a fatal error.
    fatal: bool,
}

impl<R: Message> Reader<R> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { reports: Vec::new(), delivered: Vec::new(), fatal: false }) }
    }

    /// Passes on what there is to report. If another thread is at it, that one does this, too.
    pub(crate) fn serve(&self, client: &Client<R>, exchange: &impl Exchange<R>, signals: &Signals) {
        while signals.has_reports() {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            // What comes from here on sets it again.
            signals.clear_reports();
            state.pass_on(client, exchange);
        }
    }

    /// Passes on what is left, for the thread that is the last.
    pub(crate) fn finish(&self, client: &Client<R>, exchange: &impl Exchange<R>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pass_on(client, exchange);
    }
}

impl<R: Message> State<R> {
    fn pass_on(&mut self, client: &Client<R>, exchange: &impl Exchange<R>) {
        client.read_reports(&mut self.reports);
        for chunk in self.reports.chunks_mut(CHUNK) {
            report(client, exchange, chunk, &mut self.delivered);
        }
        self.reports.clear();
        loop {
            match client.poll() {
                Polled::Nothing => return,
                Polled::Fatal(failure) if !self.fatal => {
                    self.fatal = true;
                    events::fatal(exchange, failure);
                }
                Polled::Fatal(_) | Polled::Other => {}
            }
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
        let report = reports[index];
        let record = if report.code == 0 { client.reclaim(&report) } else { None };
        if report.code != 0 || record.is_some() {
            reports[known] = report;
            known += 1;
        }
        delivered.extend(record);
    }
    exchange.release(delivered);
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
