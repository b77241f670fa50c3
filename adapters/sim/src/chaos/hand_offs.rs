//! Batches on their way to the backend: some wait, and some lose records.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_core::backend::{ErrorCode, Failure, FailureKind, Status, Unsent};
use aioproducer_core::{Instant, Lane, SlotId};

use super::counts::ChaosCounts;
use super::dice::{AllDice, Dice};
use super::gate::Gate;
use crate::sync::{Mutex, lock};

/// What a rejected record fails with: it may be sent again.
const REJECTED: Failure = Failure::new(
    FailureKind::Broker,
    Status::NotPersisted,
    Some(ErrorCode::LocalQueueFull),
    "rejected by Chaos before it was sent",
);

pub(super) struct HandOffs<R> {
    inside: Mutex<Inside<R>>,
    counts: ChaosCounts,
}

struct Inside<R> {
    delays: Dice,
    full_queues: Dice,
    rejections: Dice,
    gate: Gate,
    /// Workers that were sent away and have to be woken. The driver takes them for awake.
    sent_away: usize,
    /// A delay has ended, so the next hand-off is not delayed.
    may_pass: bool,
    is_calm: bool,
    /// What was taken out of batches that the backend has not settled; there is one of a lane at most.
    left_out: BTreeMap<Lane, LeftOut<R>>,
}

/// Records of a batch that the backend does not get.
pub(super) struct LeftOut<R> {
    rejected: Vec<(SlotId, R)>,
    /// The last ones of the batch.
    refused: Vec<(SlotId, R)>,
}

impl<R> HandOffs<R> {
    pub(super) fn new(dice: AllDice, counts: ChaosCounts) -> (Self, Dice) {
        let AllDice { delays, late_reports, full_queues, rejections } = dice;
        let inside = Inside {
            delays,
            full_queues,
            rejections,
            gate: Gate::Open,
            sent_away: 0,
            may_pass: false,
            is_calm: false,
            left_out: BTreeMap::new(),
        };
        (Self { inside: Mutex::new(inside), counts }, late_reports)
    }

    /// How long the next hand-off is to wait, `None` if it is not. It is zero if a delay is on.
    pub(super) fn draw_delay(&self) -> Option<Duration> {
        let inside = &mut *lock(&self.inside);
        if inside.is_calm {
            return None;
        }
        if !inside.gate.is_open() {
            return Some(Duration::ZERO);
        }
        if std::mem::take(&mut inside.may_pass) {
            return None;
        }
        inside.delays.hits().then(|| inside.delays.time())
    }

    /// Sends a worker away for the time that was drawn. False if it need not wait any more.
    pub(super) fn send_away(&self, time: Duration) -> bool {
        let inside = &mut *lock(&self.inside);
        if inside.is_calm {
            return false;
        }
        if inside.gate.is_open() {
            if time.is_zero() {
                return false;
            }
            inside.gate = Gate::Shut(time);
            self.counts.count_delay();
        }
        inside.sent_away += 1;
        true
    }

    /// Takes records out of a batch, whose records are those from `first` on. Returns those if the backend gets none.
    pub(super) fn thin(&self, lane: Lane, taken: &mut Vec<(SlotId, R)>, first: usize) -> Option<LeftOut<R>> {
        let inside = &mut *lock(&self.inside);
        if inside.is_calm {
            return None;
        }
        let count = taken.len() - first;
        // An empty queue has room for one record, so the first one is never refused.
        let is_full = inside.full_queues.hits() && count > 1;
        let room = if is_full { 1 + inside.full_queues.below(count - 1) } else { count };
        let refused = taken.split_off(first + room);
        let mut rejected = Vec::new();
        for (slot, record) in taken.split_off(first) {
            let to = if inside.rejections.hits() { &mut rejected } else { &mut *taken };
            to.push((slot, record));
        }
        if refused.is_empty() && rejected.is_empty() {
            return None;
        }
        self.counts.count_refusals(refused.len());
        self.counts.count_rejections(rejected.len());
        let left_out = LeftOut { rejected, refused };
        if taken.len() == first {
            return Some(left_out);
        }
        inside.left_out.insert(lane, left_out);
        None
    }

    /// What was taken out of the lane's batch, which the backend settles.
    pub(super) fn left_out(&self, lane: Lane) -> LeftOut<R> {
        lock(&self.inside).left_out.remove(&lane).unwrap_or(LeftOut { rejected: Vec::new(), refused: Vec::new() })
    }

    /// Ends the delay if its time is over. Returns how many workers to wake, and when to look again.
    pub(super) fn look(&self, now: Instant) -> (usize, Option<Instant>) {
        let inside = &mut *lock(&self.inside);
        let next = inside.gate.look(now);
        (inside.leave(), next)
    }

    /// Ends all chaos. Returns how many workers to wake.
    pub(super) fn calm(&self) -> usize {
        let inside = &mut *lock(&self.inside);
        (inside.is_calm, inside.gate) = (true, Gate::Open);
        inside.leave()
    }
}

impl<R> Inside<R> {
    /// Those who were sent away may come back, if the gate is open.
    fn leave(&mut self) -> usize {
        if !self.gate.is_open() {
            return 0;
        }
        let back = std::mem::take(&mut self.sent_away);
        self.may_pass |= back > 0;
        back
    }
}

impl<R> LeftOut<R> {
    /// All that does not reach the backend's queue: these, and what the backend says itself. Refused records are the last ones.
    pub(super) fn with(self, unsent: impl Iterator<Item = Unsent<R>>) -> impl Iterator<Item = Unsent<R>> {
        let rejected = self.rejected.into_iter().map(|(slot, record)| Unsent::Rejected(slot, REJECTED, record));
        let refused = self.refused.into_iter().map(|(slot, record)| Unsent::Refused(slot, record));
        rejected.chain(unsent).chain(refused)
    }
}
