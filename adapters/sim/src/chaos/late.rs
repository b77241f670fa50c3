//! What the backend says on its way to the driver: in order, one at a time, and now and then late.

use std::collections::VecDeque;

use aioproducer_core::Instant;
use aioproducer_core::SlotId;
use aioproducer_core::backend::{Answer, CallError, CallId, Failure, Report};

use super::counts::ChaosCounts;
use super::dice::Dice;
use super::gate::Gate;
use crate::sync::{Mutex, lock};

/// What has to keep its order.
pub(super) enum Said<R> {
    Reports(Vec<Report<R>>),
    Message(SlotId, Box<str>),
    Fatal(Failure),
    Completed(CallId, Result<Answer, CallError>),
    Ended,
}

pub(super) struct Late<R> {
    inside: Mutex<Inside<R>>,
    counts: ChaosCounts,
}

struct Inside<R> {
    dice: Dice,
    gate: Gate,
    queue: VecDeque<Said<R>>,
    /// A thread passes on what is in the queue; others leave it to that one.
    is_passing: bool,
    is_calm: bool,
}

impl<R> Late<R> {
    pub(super) fn new(dice: Dice, counts: ChaosCounts) -> Self {
        let (queue, is_passing, is_calm) = (VecDeque::new(), false, false);
        Self { inside: Mutex::new(Inside { dice, gate: Gate::Open, queue, is_passing, is_calm }), counts }
    }

    /// Puts it behind all that was said before. Returns whether it has to wait for a time.
    pub(super) fn push(&self, said: Said<R>) -> bool {
        let inside = &mut *lock(&self.inside);
        match &said {
            Said::Reports(reports) => {
                // Without reports it is a call for what the driver has deferred.
                let waits = !reports.is_empty() && (inside.draws() || !inside.gate.is_open());
                self.counts.count_late_reports(if waits { reports.len() } else { 0 });
            }
            // The driver fails what it has, so what was said before has to arrive first.
            Said::Fatal(_) => inside.gate = Gate::Open,
            Said::Ended => (inside.is_calm, inside.gate) = (true, Gate::Open),
            _ => {}
        }
        inside.queue.push_back(said);
        !inside.gate.is_open()
    }

    /// Whether the caller is to pass on what is in the queue: [`next`](Self::next) until there is no more.
    pub(super) fn begin(&self) -> bool {
        let inside = &mut *lock(&self.inside);
        let begins = !inside.is_passing && inside.gate.is_open();
        inside.is_passing |= begins;
        begins
    }

    /// The next of what is to be passed on.
    pub(super) fn next(&self) -> Option<Said<R>> {
        let inside = &mut *lock(&self.inside);
        let next = if inside.gate.is_open() { inside.queue.pop_front() } else { None };
        inside.is_passing = next.is_some();
        next
    }

    /// Whether the caller may pass on a report of its own at once. If so, [`end_alone`](Self::end_alone) follows.
    pub(super) fn begin_alone(&self) -> bool {
        let inside = &mut *lock(&self.inside);
        let begins = !inside.is_passing && inside.queue.is_empty() && inside.gate.is_open() && !inside.draws();
        inside.is_passing |= begins;
        begins
    }

    /// Returns whether others have left something meanwhile.
    pub(super) fn end_alone(&self) -> bool {
        let inside = &mut *lock(&self.inside);
        inside.is_passing = false;
        !inside.queue.is_empty()
    }

    /// Opens the gate if its time is over. Returns when to look again.
    pub(super) fn look(&self, now: Instant) -> Option<Instant> {
        lock(&self.inside).gate.look(now)
    }

    /// Ends all chaos.
    pub(super) fn calm(&self) {
        let inside = &mut *lock(&self.inside);
        (inside.is_calm, inside.gate) = (true, Gate::Open);
    }
}

impl<R> Inside<R> {
    /// Shuts the gate if the seed says so.
    fn draws(&mut self) -> bool {
        let draws = !self.is_calm && self.gate.is_open() && self.dice.hits();
        if draws {
            self.gate = Gate::Shut(self.dice.time());
        }
        draws
    }
}
