//! The report thread: drains delivery reports and gives them to the driver in bulk.

use std::sync::atomic::{AtomicBool, Ordering};

use aioproducer_core::backend::{Delivered, Exchange, Message, Outcome, Report};

use crate::events;
use crate::failure;
use crate::ffi::{Client, Polled, RawReport};

/// Reports that are gathered before the driver hears of them, if there are so many at once.
const GATHER: usize = 4096;

/// Reports that the driver gets in one call, which is under its lock.
const CHUNK: usize = 1024;

/// Works until `stop` is set and no event is left.
pub(crate) fn run<R: Message>(client: &Client<R>, exchange: &impl Exchange<R>, stop: &AtomicBool) {
    let mut reports = Vec::new();
    let mut fatal = false;
    loop {
        let stopping = stop.load(Ordering::Acquire);
        let mut wait = !stopping;
        let mut idle = true;
        while reports.len() < GATHER {
            match client.poll(wait, &mut reports) {
                Polled::Nothing => break,
                Polled::Reports => {}
                Polled::Fatal(failure) if !fatal => {
                    fatal = true;
                    events::fatal(exchange, failure);
                }
                Polled::Fatal(_) | Polled::Other => {}
            }
            (wait, idle) = (false, false);
        }
        for chunk in reports.chunks_mut(CHUNK) {
            report(client, exchange, chunk);
        }
        reports.clear();
        if stopping && idle {
            return;
        }
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
