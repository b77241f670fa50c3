//! Delivery reports and events, from librdkafka to the driver, in bulk.

pub(crate) mod failure;

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Driver, Message, Outcome, Report};

use crate::ffi::{Client, Polled, RawReport};
use crate::threads::signals::Signals;

/// Reports that the driver gets in one call: who waits for one of them hears of it when it knows all. Of a few, that is to
/// be soon; of many, not so often that it disturbs the work: a quarter of what there is.
const CHUNK: RangeInclusive<usize> = 256..=4096;

/// Events that are read before reports are passed on: log lines that come faster than they are read keep no report waiting.
const EVENTS: usize = 1024;

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
    pub(crate) fn serve(&self, client: &Client<R>, driver: &impl Driver<R>, signals: &Signals) {
        if signals.begin_reading() {
            let mut turn = Turn { reader: self, signals, state: self.lock().take().unwrap_or_default() };
            if !turn.state.pass_on(client, driver, false) {
                signals.report();
            }
        }
    }

    /// Passes on what is left, for the thread that is the last.
    pub(crate) fn finish(&self, client: &Client<R>, driver: &impl Driver<R>) {
        let mut state = self.lock().take().unwrap_or_default();
        while !state.pass_on(client, driver, true) {}
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
    /// False if there may be more to read.
    fn pass_on(&mut self, client: &Client<R>, driver: &impl Driver<R>, all: bool) -> bool {
        let mut polls = 0..EVENTS;
        let mut follows = false;
        let drained = loop {
            if polls.next().is_none() {
                break false;
            }
            match client.poll() {
                Polled::Nothing => break true,
                Polled::Freed(count) => {
                    let early = client.settle_early(count);
                    self.freed += count - early;
                    follows |= early > 0;
                }
                Polled::Error(error) => {
                    let listeners = client.listeners();
                    listeners.voice.error(&listeners.sinks, driver, error);
                    // It may carry the cause of a fatal error instead of `_FATAL`, so the client's own state decides.
                    if !self.fatal
                        && let Some(failure) = client.fatal()
                    {
                        self.fatal = true;
                        driver.fatal(failure);
                    }
                }
                Polled::Log(line) => {
                    let listeners = client.listeners();
                    listeners.voice.line(&listeners.sinks, driver, line);
                }
                Polled::Other => {}
            }
        };
        if follows {
            // It may have put off what must not run on librdkafka's thread.
            driver.report(std::iter::empty());
        }
        client.read_reports(&mut self.reports);
        let voice = &client.listeners().voice;
        if voice.is_troubled() && self.reports.iter().any(|report| report.code == 0) {
            voice.delivered(driver);
        }
        // A report makes room for a record, so as many messages have to be gone. The others follow shortly.
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
}

fn report<R: Message>(client: &Client<R>, driver: &impl Driver<R>, reports: &mut [RawReport], delivered: &mut Vec<R>) {
    // Delivered records go back before their slots can be used again.
    let mut known = 0;
    for index in 0..reports.len() {
        let report = &reports[index];
        if let Some(said) = report.failed.as_ref().and_then(|failed| failed.said.as_ref()) {
            driver.explain(report.slot, said);
        }
        let lent = report.code == 0 && !report.copied;
        let record = if lent { client.reclaim(report) } else { None };
        if !lent || record.is_some() {
            reports.swap(known, index);
            known += 1;
        }
        delivered.extend(record);
    }
    if !delivered.is_empty() {
        driver.release(delivered);
    }
    driver.report(reports[..known].iter_mut().filter_map(|report| {
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
    let copy = report.failed.as_mut()?.copy.take()?;
    Some(Outcome::FailedCopy(failure::of(report.code, report.status), copy))
}

/// The outcome of a record that was reported while the client came to its end, with the record if it was lent and is there;
/// a delivered one is left behind.
pub(crate) fn last<R>(mut report: RawReport, lent: &mut Option<R>) -> Option<Report<R>> {
    let is_known = report.copied || lent.is_some();
    let outcome = match is_known.then(|| outcome(&mut report))? {
        Some(outcome) => outcome,
        None => Outcome::Failed(failure::of(report.code, report.status), lent.take()?),
    };
    Some(Report { slot: report.slot, outcome })
}

#[cfg(test)]
mod tests {
    use aioproducer_core::SlotId;
    use aioproducer_core::backend::{Copied, Delivered, Status};

    use super::*;
    use crate::ffi::Failed;

    #[test]
    fn s25_what_is_reported_in_the_last_moment_is_told_as_it_is() {
        let slot = SlotId::new(3, 7);
        let report = |code: i32, copied: bool| RawReport {
            slot,
            offset: 5,
            timestamp: 9,
            code,
            partition: 1,
            status: if code == 0 { Status::Persisted } else { Status::NotPersisted },
            copied,
            failed: (copied && code != 0).then(|| {
                let copy = Some(Copied { key: None, payload: None, urgent: false });
                Box::new(Failed { copy, said: None })
            }),
        };
        let at = Delivered { partition: 1, offset: 5, timestamp: 9 };
        let told = |report, lent: Option<u8>| {
            let mut lent = lent;
            last(report, &mut lent).map(|report| (report.outcome, lent))
        };
        assert_eq!(told(report(0, false), Some(8)), Some((Outcome::Delivered(at), Some(8))), "it was delivered");
        assert_eq!(told(report(0, true), None), Some((Outcome::Delivered(at), None)));
        let failed = failure::of(-192, Status::NotPersisted);
        assert_eq!(told(report(-192, false), Some(8)), Some((Outcome::Failed(failed, 8), None)));
        let copy = Copied { key: None, payload: None, urgent: false };
        assert_eq!(told(report(-192, true), None), Some((Outcome::FailedCopy(failed, copy), None)));
        assert_eq!(told(report(0, false), None), None, "the record is not there: its outcome was told");
    }
}
