//! The driver, as a client sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aioproducer_core::backend::{
    Answer, CallError, CallId, Delivered, Driver, Failure, FailureKind, Message, Outcome, Report, Severity, Trouble,
    Unsent,
};
use aioproducer_core::{MessageBatch, SlotId, TopicId};

use super::numbered::Numbered;
use super::shared::Shared;
use super::state::Phase;

/// One for each client.
pub(crate) struct Link<R, E> {
    shared: Arc<Shared<R, E>>,
    /// The client has ended. A thread of it that could not be ended in time may still call.
    is_cut: AtomicBool,
}

impl<R, E> Link<R, E> {
    pub(super) fn new(shared: &Arc<Shared<R, E>>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), is_cut: AtomicBool::new(false) })
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }
}

impl<R: Message, E: Driver<R>> Link<R, E> {
    /// Settles a batch of kept records. Those that were not sent have their outcome now, or go again.
    fn settle_kept(&self, unsent: impl Iterator<Item = Unsent<Numbered<R>>>) {
        let mut given_up = Vec::new();
        let (mut left, mut is_full) = (0, false);
        {
            let mut state = self.shared.state();
            for unsent in unsent {
                left += 1;
                match unsent {
                    Unsent::Refused(slot, record) => {
                        is_full = true;
                        state.keep_refused(slot, record);
                    }
                    Unsent::Rejected(slot, failure, record) => {
                        if let Some(record) = state.keep(slot, failure, record) {
                            given_up.push(Report { slot, outcome: Outcome::Failed(failure, record.record) });
                        }
                    }
                }
            }
            state.settled(left, is_full);
        }
        self.shared.left(left);
        if !given_up.is_empty() {
            self.shared.driver.report(given_up.into_iter());
        }
        self.finish();
    }

    /// The renewal ends when all kept records are with the new client.
    fn finish(&self) {
        if self.shared.state().finish() {
            self.shared.notify();
            self.shared.wake();
        }
    }
}

impl<R: Message, E: Driver<R>> Driver<Numbered<R>> for Link<R, E> {
    fn take(&self, records: &mut Vec<(SlotId, Numbered<R>)>) -> Option<MessageBatch> {
        if self.is_cut() {
            return None;
        }
        {
            let mut state = self.shared.state();
            if !state.is_running() {
                let batch = state.take(records)?;
                drop(state);
                self.shared.arrived(batch.len());
                return Some(batch);
            }
        }
        if !self.shared.may_ask() {
            return None;
        }
        let mut taken = Vec::new();
        let batch = self.shared.driver.take(&mut taken)?;
        self.shared.awakes();
        let first = self.shared.number(taken.len());
        records.extend((first..).zip(taken).map(|(number, (slot, record))| (slot, Numbered { record, number })));
        Some(batch)
    }

    fn settle<I: Iterator<Item = Unsent<Numbered<R>>>>(&self, batch: MessageBatch, unsent: I) {
        if self.shared.state().is_resending() {
            return self.settle_kept(unsent);
        }
        let shared = &*self.shared;
        shared.driver.settle(
            batch,
            unsent.filter_map(|unsent| match unsent {
                Unsent::Refused(slot, record) => {
                    shared.left(1);
                    Some(Unsent::Refused(slot, record.record))
                }
                Unsent::Rejected(slot, failure, record) => {
                    shared.left(1);
                    if failure.kind == FailureKind::Fatal {
                        // The event may come later.
                        shared.renews_after(failure);
                    }
                    let record = shared.state().keep(slot, failure, record)?;
                    Some(Unsent::Rejected(slot, failure, record.record))
                }
            }),
        );
    }

    fn release(&self, records: &mut Vec<Numbered<R>>) {
        let mut released = records.drain(..).map(|numbered| numbered.record).collect();
        self.shared.driver.release(&mut released);
    }

    fn report<I: Iterator<Item = Report<Numbered<R>>>>(&self, reports: I) {
        self.shared.driver.report(reports.filter_map(|report| self.shared.passes(report)));
        let (has_room, is_running) = {
            let mut state = self.shared.state();
            (state.reported(), state.is_running())
        };
        if has_room {
            self.shared.wake();
        }
        if !is_running {
            self.shared.notify();
        }
    }

    fn report_at_once(&self, slot: SlotId, delivered: Delivered) -> bool {
        let is_done = self.shared.driver.report_at_once(slot, delivered);
        if is_done {
            self.shared.left(1);
            self.shared.has_delivered.store(true, Ordering::Relaxed);
        }
        is_done
    }

    fn is_flushing(&self) -> bool {
        self.shared.driver.is_flushing()
    }

    fn try_idle(&self) -> bool {
        if !self.shared.state().is_running() {
            return false;
        }
        let is_idle = !self.shared.may_ask() || self.shared.driver.try_idle();
        if !is_idle {
            self.shared.awakes();
        }
        is_idle
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.shared.driver.topic_name(topic)
    }

    fn fatal(&self, failure: Failure) {
        if !self.is_cut() && !self.shared.renews_after(failure) {
            self.shared.driver.fatal(failure);
        }
    }

    fn set_trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        if !self.is_cut() {
            self.shared.driver.set_trouble(topic, trouble);
        }
    }

    fn broker_message(&self, slot: SlotId, message: &str) {
        self.shared.driver.broker_message(slot, message);
    }

    fn log(&self, severity: Severity, line: &str) {
        self.shared.driver.log(severity, line);
    }

    fn connections_changed(&self) {
        self.shared.driver.connections_changed();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        self.shared.driver.complete_call(id, result.map_err(|error| self.shared.interrupted(error)));
    }

    fn ended(&self) {
        self.is_cut.store(true, Ordering::Release);
        let is_replaced = {
            let mut state = self.shared.state();
            let is_replaced = state.phase == Phase::Ending;
            state.has_ended |= is_replaced;
            is_replaced
        };
        match is_replaced {
            true => self.shared.notify(),
            false => self.shared.end(),
        }
    }
}
