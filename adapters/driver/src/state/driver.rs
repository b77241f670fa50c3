//! The backend's side of the shared state: batches out, outcomes in.

use std::ops::RangeInclusive;

use aioproducer_core::backend::{
    Answer, CallError, CallId, Copied, Delivered, Driver, Failure, FailureKind, Outcome, Report, Severity, Status,
    Trouble, Unsent,
};
use aioproducer_core::{Completed, Instant, MessageBatch, SlotId, TopicId};

use crate::api::purge::PURGED;
use crate::callbacks::Ended;
use crate::observe::{SUBSCRIBER, lines};
use crate::outcome::bulk::Member;
use crate::outcome::ticket::{Target, Ticket};
use crate::record::OwnedRecord;
use crate::state::effects::{Discard, Effects};
use crate::state::end::CLOSED;
use crate::state::shared::{Phase, Shared, Spare, State};

/// Records that one call fails at most, so that neither a lock nor a runtime's thread is held for long.
const BUDGET: usize = 16;

/// The same for the backend's own threads, which have nothing else to do in the end.
const LAST: usize = 64;

/// Reports that the machine is told under one lock, a quarter of a call's: each time the lock is taken the other threads'
/// memory has to come over.
const CHUNK: RangeInclusive<usize> = 64..=512;

pub(crate) const TIMED_OUT: Failure = Failure::new(
    FailureKind::TimedOut,
    Status::NotPersisted,
    None,
    "the delivery timeout passed before the record was handed off",
);

const OVERDUE: Failure = Failure::new(
    FailureKind::TimedOut,
    Status::PossiblyPersisted,
    None,
    "the delivery timeout passed, and the backend did not tell what became of the record",
);

const QUEUE_FULL: Failure = Failure::new(
    FailureKind::QueueFull,
    Status::NotPersisted,
    None,
    "the record alone is more than the backend may queue",
);

impl Driver<OwnedRecord> for Shared {
    fn take(&self, records: &mut Vec<(SlotId, OwnedRecord)>) -> Option<MessageBatch> {
        let first = records.len();
        self.with(|state, effects| {
            loop {
                // Time moves on the runtime's threads only: a paused clock can be read nowhere else.
                let now = state.machine.now();
                state.expire(self, now, effects);
                let batch = match state.phase {
                    Phase::Open | Phase::Closing(_) if !state.is_aborting() => {
                        let State { machine, timeouts, .. } = &mut *state;
                        machine.poll_batch(now, |slot, record| {
                            if !timeouts.is_empty() && record.timeout().is_some() {
                                timeouts.keep(slot, &record);
                            }
                            records.push((slot, record));
                        })
                    }
                    _ => None,
                };
                state.handing_off.extend(batch.as_ref().map(MessageBatch::lane));
                self.observer.handed_off(state, batch.as_ref(), records, first, &mut effects.notes);
                if batch.is_some() || state.try_rest(self) {
                    return batch;
                }
                state.collect_arrivals(self, effects);
            }
        })
    }

    fn try_idle(&self) -> bool {
        self.with(|state, _| !state.has_batch() && state.try_rest(self))
    }

    fn settle<I: Iterator<Item = Unsent<OwnedRecord>>>(&self, batch: MessageBatch, unsent: I) {
        let ending = self.with(|state, effects| {
            let lane = batch.lane();
            let purged = state.purge_after.as_ref().is_some_and(|(lanes, what)| what.queued && lanes.contains(&lane));
            for unsent in unsent {
                match unsent {
                    Unsent::Refused(slot, record) if purged => match state.machine.handle_report(slot) {
                        Some(ended) => state.fail(self, ended, PURGED, Some(record), effects),
                        None => effects.discard.push(Discard::Record(record)),
                    },
                    Unsent::Refused(slot, record) => {
                        let stale = state.machine.handle_refused(slot, record).err();
                        effects.discard.extend(stale.map(Discard::Record));
                    }
                    Unsent::Rejected(slot, failure, record) => match state.machine.handle_report(slot) {
                        Some(ended) => state.fail(self, ended, failure, Some(record), effects),
                        None => effects.discard.push(Discard::Record(record)),
                    },
                }
            }
            if let Some((record, ended)) = state.machine.handle_settled(&batch) {
                state.fail(self, ended, QUEUE_FULL, Some(record), effects);
            }
            state.end_hand_off(lane, effects);
            // Refused records have a deadline again.
            if state.machine.poll_timeout().is_some_and(|timeout| timeout.at < state.armed) {
                effects.wakers.extend(state.driver.take());
            }
            state.phase == Phase::Ending
        });
        if ending {
            self.give_up_all();
        }
    }

    fn release(&self, records: &mut Vec<OwnedRecord>) {
        // A payload's owner may be anybody's, so no lock is held here, and one that panics keeps no record from its end.
        let mut cleared = 0;
        while cleared < records.len() {
            self.panics.catch("a payload's owner", || {
                while let Some(record) = records.get_mut(cleared) {
                    record.clear();
                    cleared += 1;
                }
            });
        }
        self.inbox().memory.recycle(records.drain(..));
    }

    fn report<I: Iterator<Item = Report<OwnedRecord>>>(&self, reports: I) {
        self.complete(reports, Observing::Now);
    }

    fn report_at_once(&self, slot: SlotId, delivered: Delivered) -> bool {
        {
            let state = &mut *self.lock();
            let ticket = state.machine.ticket_mut(slot).copied();
            // If there is another record, its report may be on its way. A span ends before its delivery is ready, and a
            // subscriber must not run here.
            if state.machine.len() != 1 || ticket.is_some_and(|ticket| self.observer.has_span(ticket)) {
                return false;
            }
        }
        let report = Report { slot, outcome: Outcome::Delivered(delivered) };
        self.complete(std::iter::once(report), Observing::Deferred);
        true
    }

    fn is_flushing(&self) -> bool {
        let state = self.lock();
        let committing = state.session.as_ref().is_some_and(|session| session.machine.is_draining());
        committing || !state.flushes.is_empty() || matches!(state.phase, Phase::Closing(_))
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.topics.name(topic)
    }

    fn fatal(&self, failure: Failure) {
        self.tell_fatal(Some(failure));
        self.with(|state, effects| state.handle_fatal(self, failure, effects));
        self.give_up_all();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        let fatal = self.with(|state, effects| state.handle_answered(self, id, result, effects));
        self.tell_fatal(fatal);
    }

    fn set_trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        self.context.troubles.set(topic, trouble);
    }

    fn broker_message(&self, slot: SlotId, message: &str) {
        self.lock().said.push_back((slot, message.into()));
    }

    fn log(&self, severity: Severity, line: &str) {
        self.panics.catch(SUBSCRIBER, || lines::write(severity, line));
    }

    fn ended(&self) {
        self.with(|state, effects| state.begin_ending(self, effects));
        while !self.with(|state, effects| state.end_some(self, effects)) {}
        self.callbacks.end();
    }
}

/// Whether subscribers and recorders are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observing {
    Now,
    /// By the next thread that may.
    Deferred,
}

impl Shared {
    /// The machine learns of some reports under each lock, the deliveries of all without it. Between the two no flush counts
    /// as done, so that whoever awaited one finds the deliveries before it ready. Tasks are woken in the end, once.
    fn complete(&self, reports: impl Iterator<Item = Report<OwnedRecord>>, observing: Observing) {
        let Spare { wakers, mut delivered, callbacks } = std::mem::take(&mut *self.spare());
        let mut effects = Effects::reusing(wakers, callbacks);
        let now = self.observer.now();
        let mut reports = reports.peekable();
        let chunk = (reports.size_hint().1.unwrap_or(0) / 4).clamp(*CHUNK.start(), *CHUNK.end());
        self.lock().completing += 1;
        while reports.peek().is_some() {
            let state = &mut *self.lock();
            state.collect_arrivals(self, &mut effects);
            for Report { slot, outcome } in reports.by_ref().take(chunk) {
                match (state.machine.handle_report(slot), outcome) {
                    (Some(ended), Outcome::Delivered(at)) => {
                        let topic = ended.lane.topic();
                        state.end_record(&ended, &mut effects);
                        self.observer.delivered(ended.ticket, now, at, &mut effects.notes);
                        match ended.ticket.target() {
                            Target::Delivery(cell) => delivered.push((cell, topic, at)),
                            Target::Group { group, index } => {
                                state.settle_member(group, index, Member::Delivered(topic, at), &mut effects);
                            }
                            Target::Callback(callback) => {
                                let (key, trace) = ((topic, at.partition), self.observer.span_of(ended.ticket));
                                effects.callbacks.push(Ended { callback, key, outcome: Ok(at), trace });
                            }
                            Target::Nobody => {}
                        }
                    }
                    (Some(ended), Outcome::Failed(failure, record)) => {
                        state.fail(self, ended, failure, Some(record), &mut effects);
                    }
                    (Some(ended), Outcome::FailedCopy(failure, copied)) => {
                        state.fail_copy(self, ended, failure, copied, &mut effects);
                    }
                    (None, Outcome::Failed(_, record)) => effects.discard.push(Discard::Record(record)),
                    (None, Outcome::Delivered(_) | Outcome::FailedCopy(..)) => {}
                }
            }
            state.after_transition(self, &mut effects);
        }
        match observing {
            Observing::Now => self.observer.tell(&self.topics, &mut effects.notes, &self.panics),
            Observing::Deferred => {}
        }
        for (cell, topic, at) in delivered.drain(..) {
            self.completions.complete_delivered(cell, topic, at, &mut effects.wakers);
        }
        {
            let state = &mut *self.lock();
            // Those of records whose outcome was known.
            state.said.clear();
            state.completing -= 1;
            state.after_transition(self, &mut effects);
        }
        match observing {
            Observing::Now => self.apply(&mut effects),
            Observing::Deferred => self.apply_unobserved(&mut effects),
        }
        let Effects { wakers, callbacks, .. } = &mut effects;
        *self.spare() = Spare { wakers: std::mem::take(wakers), callbacks: std::mem::take(callbacks), delivered };
    }
}

impl State {
    /// Fails a record of which the backend gives a copy back. That lacks a timeout of the record's own.
    #[cold]
    fn fail_copy(
        &mut self,
        shared: &Shared,
        ended: Completed<Ticket>,
        failure: Failure,
        copied: Copied,
        effects: &mut Effects,
    ) {
        let copy = || OwnedRecord::from_copy(ended.lane, copied, &mut shared.inbox().memory);
        let record = self.timeouts.remove(ended.slot).unwrap_or_else(copy);
        self.fail(shared, ended, failure, Some(record), effects);
    }

    /// Counts a worker as asleep, unless there are arrivals to look at.
    fn try_rest(&mut self, shared: &Shared) -> bool {
        let mut inbox = shared.inbox();
        if !inbox.is_empty() {
            return false;
        }
        inbox.shut();
        self.idle_workers += 1;
        self.awake_workers = self.awake_workers.saturating_sub(1);
        true
    }

    /// Fails the records whose delivery timeout passed before hand-off; false if there may be more of them.
    pub(crate) fn expire(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        for _ in 0..BUDGET {
            let Some(expired) = self.machine.poll_expired(now) else { return true };
            self.fail(shared, expired.ended, TIMED_OUT, Some(expired.record), effects);
        }
        false
    }

    /// Fails the records of which the backend says nothing; false if there may be more of them.
    pub(crate) fn give_up_overdue(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        for _ in 0..BUDGET {
            let Some(overdue) = self.machine.poll_overdue(now) else { return true };
            let copy = self.timeouts.remove(overdue.slot);
            self.fail(shared, overdue, OVERDUE, copy, effects);
        }
        false
    }

    /// Fails the records that the backend was never given, for an end that is under way; false if there may be more.
    pub(crate) fn give_up(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        for _ in 0..BUDGET {
            let Some((record, ended)) = self.machine.poll_drained() else { return true };
            self.fail(shared, ended, CLOSED, Some(record), effects);
        }
        false
    }

    /// Fails the records that are left when the backend is gone, and then ends; false if there may be more of them.
    fn end_some(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        for _ in 0..LAST {
            if let Some((record, ended)) = self.take_buffered() {
                self.fail(shared, ended, CLOSED, Some(record), effects);
            } else if let Some(ended) = self.machine.poll_abandoned() {
                let failure = CLOSED.with_status(Status::PossiblyPersisted);
                self.fail(shared, ended, failure, None, effects);
            } else {
                self.phase = Phase::Ended;
                effects.discard.extend(self.timeouts.clear().map(Discard::Record));
                self.end_calls(effects);
                effects.wakers.append(&mut self.close_wakers);
                effects.wakers.extend(self.driver.take());
                return true;
            }
        }
        false
    }
}
