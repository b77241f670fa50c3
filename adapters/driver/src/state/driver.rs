//! The backend's side of the shared state: batches out, outcomes in.

use std::ops::RangeInclusive;

use aioproducer_core::backend::{
    Answer, CallError, CallId, Copied, Delivered, Driver, Failure, Outcome, Report, Severity, Trouble, Unsent,
};
use aioproducer_core::{MessageBatch, Phase, SlotId, TopicId};

use super::effects::{Discard, Effects};
use super::shared::{Shared, Spare, State};
use crate::callbacks::Ended;
use crate::observe::{SUBSCRIBER, Time, lines};
use crate::outcome::bulk::Member;
use crate::outcome::completion::CellRef;
use crate::outcome::failures::QUEUE_FULL;
use crate::outcome::ticket::Target;
use crate::record::OwnedRecord;

/// Reports that are passed to the machine under one hold of the lock, a quarter of a call's: each time the lock is taken, memory
/// that other threads have written has to be fetched.
const REPORTS_PER_LOCK: RangeInclusive<usize> = 64..=512;

impl Driver<OwnedRecord> for Shared {
    fn take(&self, records: &mut Vec<(SlotId, OwnedRecord)>) -> Option<MessageBatch> {
        let first = records.len();
        self.with(|state, effects| {
            loop {
                // Time moves on the runtime's threads only: a paused clock can be read nowhere else.
                let now = state.machine.now();
                state.expire(self, now, effects);
                let batch = if state.is_aborting() {
                    None
                } else {
                    state.machine.poll_batch(now, |slot, record, wants_copy| {
                        let copy = if wants_copy { copy_of(&record) } else { None };
                        records.push((slot, record));
                        copy
                    })
                };
                if let Some(batch) = &batch {
                    self.note_hand_off(state, batch, &records[first..], effects);
                }
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
            for unsent in unsent {
                let (Unsent::Refused(slot, _) | Unsent::Rejected(slot, ..)) = &unsent;
                effects.discard.extend(state.machine.take_copy(*slot).map(Discard::Record));
                match unsent {
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
            state.purge_some(batch.len(), self, effects);
            // A lane may wait for credit.
            state.arm(effects);
            state.machine.phase() == Phase::Ending
        });
        if ending {
            self.give_up_all();
        }
    }

    fn release(&self, records: &mut Vec<OwnedRecord>) {
        // A payload's owner is the application's code, so no lock is held here. When one panics, the others are dropped all the same.
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
            if state.machine.held() != 1 || ticket.is_some_and(|ticket| self.observer.has_span(ticket.mark)) {
                return false;
            }
        }
        let report = Report { slot, outcome: Outcome::Delivered(delivered) };
        self.complete(std::iter::once(report), Observing::Deferred);
        true
    }

    fn is_flushing(&self) -> bool {
        let state = self.lock();
        let committing = state.transactions.as_ref().is_some_and(|transactions| transactions.machine.is_draining());
        committing || !state.flushes.is_empty() || matches!(state.machine.phase(), Phase::Closing(_))
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.topics.name(topic)
    }

    fn fatal(&self, failure: Failure) {
        self.emit_fatal(Some(failure));
        self.with(|state, effects| state.handle_fatal(self, failure, effects));
        self.give_up_all();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        let fatal = self.with(|state, effects| state.handle_answered(self, id, result, effects));
        self.emit_fatal(fatal);
    }

    fn set_trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        self.context.troubles.set(topic, trouble);
    }

    fn connections_changed(&self) {
        self.look_at_connections();
    }

    fn broker_message(&self, slot: SlotId, message: &str) {
        self.lock().said.push_back((slot, message.into()));
    }

    fn log(&self, severity: Severity, line: &str) {
        self.panics.catch(SUBSCRIBER, || lines::write(severity, line));
    }

    fn ended(&self) {
        self.with(|state, effects| {
            state.begin_ending(self, effects);
            state.machine.handle_backend_ended();
        });
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
    /// Reports are passed to the machine under the lock, some at a time, and then all deliveries are completed without it. Between
    /// the two no flush ends, so that a task that awaited one finds the deliveries before it ready. Tasks are woken in the end,
    /// once.
    fn complete(&self, reports: impl Iterator<Item = Report<OwnedRecord>>, observing: Observing) {
        let Spare { wakers, mut delivered, callbacks } = std::mem::take(&mut *self.spare());
        let mut effects = Effects::reusing(wakers, callbacks);
        let now = self.observer.now();
        let mut reports = reports.peekable();
        let chunk = (reports.size_hint().1.unwrap_or(0) / 4).clamp(*REPORTS_PER_LOCK.start(), *REPORTS_PER_LOCK.end());
        self.lock().completing += 1;
        while reports.peek().is_some() {
            let state = &mut *self.lock();
            state.collect_arrivals(self, &mut effects);
            let has_copies = state.machine.has_copies();
            for Report { slot, outcome } in reports.by_ref().take(chunk) {
                if has_copies && !matches!(outcome, Outcome::FailedCopy(..)) {
                    state.discard_copy(slot, &mut effects);
                }
                self.pass_report(state, slot, outcome, now, &mut delivered, &mut effects);
            }
            state.after_transition(self, &mut effects);
        }
        if observing == Observing::Now {
            self.observer.emit(&self.topics, &mut effects.notes, &self.panics);
        }
        for (cell, topic, at) in delivered.drain(..) {
            self.completions.complete_delivered(cell, topic, at, &mut effects.wakers);
        }
        {
            let state = &mut *self.lock();
            // What is left belongs to records that were completed before.
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

    /// Passes a report to the machine, and its outcome to where its ticket says.
    #[inline(always)]
    fn pass_report(
        &self,
        state: &mut State,
        slot: SlotId,
        outcome: Outcome<OwnedRecord>,
        now: Time,
        delivered: &mut Vec<(CellRef, TopicId, Delivered)>,
        effects: &mut Effects,
    ) {
        let at = match outcome {
            Outcome::Delivered(at) => at,
            Outcome::Failed(failure, record) => return state.pass_failed(self, slot, failure, record, effects),
            Outcome::FailedCopy(failure, copied) => {
                return state.pass_failed_copy(self, slot, failure, copied, effects);
            }
        };
        let Some(ended) = state.machine.handle_report(slot) else { return };
        let topic = ended.lane.topic();
        let has_callback = ended.ticket.has_callback();
        self.observer.delivered(ended.ticket.mark, has_callback, now, at, &mut effects.notes);
        match ended.ticket.target() {
            Target::Delivery(cell) => delivered.push((cell, topic, at)),
            Target::Bulk { bulk, index } => {
                state.settle_member(bulk, index, Member::Delivered(topic, at), effects);
            }
            Target::Callback(callback) => {
                let (key, trace) = ((topic, at.partition), self.observer.span_of(ended.ticket.mark));
                effects.callbacks.push(Ended { callback, key, outcome: Ok(at), trace });
            }
        }
    }

    /// Notes that records were moved to the backend.
    #[inline]
    fn note_hand_off(
        &self,
        state: &mut State,
        batch: &MessageBatch,
        records: &[(SlotId, OwnedRecord)],
        effects: &mut Effects,
    ) {
        let limits = state.machine.limits();
        let most = (limits.batch_records, limits.batch_bytes);
        let accepted = |(slot, _): &(SlotId, OwnedRecord)| {
            state.machine.ticket_mut(*slot).map_or(Time::NONE, |ticket| ticket.mark.accepted)
        };
        self.observer.handed_off(batch, most, records.iter().map(accepted), &mut effects.notes);
    }
}

/// What comes back to the application if the record's time passes while the backend has it. It shares the record's bytes.
#[cold]
#[inline(never)]
fn copy_of(record: &OwnedRecord) -> Option<OwnedRecord> {
    Some(record.clone())
}

impl State {
    /// Drops the copy of a record: its report has arrived, and the record with it.
    #[cold]
    fn discard_copy(&mut self, slot: SlotId, effects: &mut Effects) {
        effects.discard.extend(self.machine.take_copy(slot).map(Discard::Record));
    }

    /// Fails a record. One that has ended before only comes back.
    #[cold]
    fn pass_failed(
        &mut self,
        shared: &Shared,
        slot: SlotId,
        failure: Failure,
        record: OwnedRecord,
        effects: &mut Effects,
    ) {
        match self.machine.handle_report(slot) {
            Some(ended) => self.fail(shared, ended, failure, Some(record), effects),
            None => effects.discard.push(Discard::Returned(shared.hand_back(record))),
        }
    }

    /// Fails a record that comes back as the backend's copy. That lacks a timeout of the record's own, so the copy that the
    /// machine keeps of such a record is better.
    #[cold]
    fn pass_failed_copy(
        &mut self,
        shared: &Shared,
        slot: SlotId,
        failure: Failure,
        copied: Copied,
        effects: &mut Effects,
    ) {
        let own = self.machine.take_copy(slot);
        let Some(ended) = self.machine.handle_report(slot) else {
            return effects.discard.extend(own.map(Discard::Record));
        };
        let record = own.unwrap_or_else(|| OwnedRecord::from_copy(ended.lane, copied, &mut shared.inbox().memory));
        self.fail(shared, ended, failure, Some(record), effects);
    }

    /// Counts a worker as asleep, unless there are arrivals. The inbox is shut before the worker sleeps: no record may be left
    /// there without a worker that collects it.
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
}
