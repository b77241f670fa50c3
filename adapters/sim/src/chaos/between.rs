//! The driver, as the backend sees it.

use std::sync::atomic::{AtomicBool, Ordering};

use aioproducer_core::backend::{
    Answer, Backend, CallError, CallId, Delivered, Driver, Failure, Message, Report, Severity, Trouble, Unsent,
};
use aioproducer_core::{Instant, MessageBatch, SlotId, TopicId};

use super::counts::ChaosCounts;
use super::hand_offs::HandOffs;
use super::late::{Late, Said};
use super::settings::Chaos;
use super::task::Work;
use crate::signal::Signal;
use crate::sync::Arc;

pub(super) struct Between<R, D> {
    driver: Arc<D>,
    hand_offs: HandOffs<R>,
    late: Late<R>,
    /// Wakes the task on the runtime.
    signal: Arc<Signal>,
    has_ended: AtomicBool,
}

impl<R: Message, D: Driver<R>> Between<R, D> {
    pub(super) fn new(driver: Arc<D>, chaos: &Chaos, counts: &ChaosCounts, signal: Arc<Signal>) -> Self {
        let (hand_offs, late) = HandOffs::new(chaos.dice(), counts.clone());
        let late = Late::new(late, counts.clone());
        Self { driver, hand_offs, late, signal, has_ended: AtomicBool::new(false) }
    }

    fn say(&self, said: Said<R>) {
        if self.late.push(said) {
            self.signal.set();
        }
        self.pass();
    }

    /// Passes on what is not late.
    fn pass(&self) {
        if !self.late.begin() {
            return;
        }
        while let Some(said) = self.late.next() {
            match said {
                Said::Reports(reports) => self.driver.report(reports.into_iter()),
                Said::Message(slot, message) => self.driver.broker_message(slot, &message),
                Said::Fatal(failure) => self.driver.fatal(failure),
                Said::Completed(id, result) => self.driver.complete_call(id, result),
                Said::Ended => {
                    self.driver.ended();
                    self.has_ended.store(true, Ordering::Release);
                    self.signal.set();
                }
            }
        }
    }
}

impl<R: Message, D: Driver<R>> Driver<R> for Between<R, D> {
    fn take(&self, records: &mut Vec<(SlotId, R)>) -> Option<MessageBatch> {
        loop {
            if let Some(time) = self.hand_offs.draw_delay() {
                // Without a batch there is nothing to delay.
                if self.driver.try_idle() {
                    return None;
                }
                if self.hand_offs.send_away(time) {
                    self.signal.set();
                    return None;
                }
            }
            let first = records.len();
            let batch = self.driver.take(records)?;
            let Some(left_out) = self.hand_offs.thin(batch.lane(), records, first) else { return Some(batch) };
            self.driver.settle(batch, left_out.with(std::iter::empty()));
        }
    }

    fn settle<I: Iterator<Item = Unsent<R>>>(&self, batch: MessageBatch, unsent: I) {
        let left_out = self.hand_offs.left_out(batch.lane());
        self.driver.settle(batch, left_out.with(unsent));
    }

    fn release(&self, records: &mut Vec<R>) {
        self.driver.release(records);
    }

    fn report<I: Iterator<Item = Report<R>>>(&self, reports: I) {
        self.say(Said::Reports(reports.collect()));
    }

    fn report_at_once(&self, slot: SlotId, delivered: Delivered) -> bool {
        if !self.late.begin_alone() {
            return false;
        }
        let is_reported = self.driver.report_at_once(slot, delivered);
        // This thread may not do more than that.
        if self.late.end_alone() {
            self.signal.set();
        }
        is_reported
    }

    fn is_flushing(&self) -> bool {
        self.driver.is_flushing()
    }

    fn try_idle(&self) -> bool {
        self.driver.try_idle()
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.driver.topic_name(topic)
    }

    fn fatal(&self, failure: Failure) {
        self.say(Said::Fatal(failure));
    }

    fn set_trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        self.driver.set_trouble(topic, trouble);
    }

    fn broker_message(&self, slot: SlotId, message: &str) {
        self.say(Said::Message(slot, message.into()));
    }

    fn log(&self, severity: Severity, line: &str) {
        self.driver.log(severity, line);
    }

    fn connections_changed(&self) {
        self.driver.connections_changed();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        self.say(Said::Completed(id, result));
    }

    fn ended(&self) {
        self.say(Said::Ended);
    }
}

impl<R: Message, D: Driver<R>> Work for Between<R, D> {
    fn look(&self, now: Instant, backend: &dyn Backend) -> Option<Instant> {
        let (back, first) = self.hand_offs.look(now);
        (0..back).for_each(|_| backend.wake());
        let second = self.late.look(now);
        self.pass();
        first.into_iter().chain(second).min()
    }

    fn calm(&self, backend: &dyn Backend) {
        let back = self.hand_offs.calm();
        self.late.calm();
        (0..back).for_each(|_| backend.wake());
        self.pass();
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}
