//! What is measured of a run.

use aioproducer_history::Verdict;

use crate::note::{Micros, Note, SECOND};
use crate::options::Options;
use crate::seconds::{Delivered, Side, ended};
use crate::target::PARTITIONS;
use crate::timeline::Fault;

/// The share of its rate that a group keeps.
pub(crate) const SHARE: f64 = 0.95;

/// Seconds at the beginning that do not count: connections, and the first batches.
const WARM_UP: u64 = 3;

/// Keyless records may go to a broker that does not answer for so much longer than the availability timeout.
pub(crate) const LEAVE: Micros = SECOND / 10;

/// A call that takes longer has waited.
pub(crate) const WAITED: Micros = SECOND / 10;

/// A run and what was found in it.
pub(crate) struct Run<'a> {
    pub(crate) options: &'a Options,
    /// In the order of their ends.
    pub(crate) notes: &'a [Note],
    pub(crate) faults: &'a [Fault],
    /// When the load was stopped.
    pub(crate) end: Micros,
    /// What the producer said, against the log.
    pub(crate) verdict: &'a Verdict,
}

impl Run<'_> {
    /// The seconds between two times.
    pub(crate) fn seconds(&self, side: Side, from: Micros, to: Micros) -> Vec<Delivered> {
        let starts = (0..(to - from) / SECOND).map(|second| from + second * SECOND);
        starts.map(|start| Delivered::of(ended(self.notes, start, start + SECOND), side)).collect()
    }

    /// What was delivered before the first fault, in an average second. The latencies are those of all that time.
    pub(crate) fn before(&self, side: Side) -> (f64, Delivered) {
        let from = WARM_UP * SECOND;
        let to = self.faults.first().map_or(self.end, |fault| fault.from);
        let all = Delivered::of(ended(self.notes, from, to), side);
        (all.count as f64 / ((to - from) as f64 / SECOND as f64), all)
    }

    /// How long after the return the hurt broker's partitions began a second with their full rate, of records that were produced
    /// after it: what was held back does not count.
    pub(crate) fn full_rate_after(&self, fault: &Fault) -> Option<Micros> {
        let side = Side::Hurt(fault.broker);
        let enough = self.before(side).0 * SHARE;
        let is_full = |start: &Micros| {
            let second = ended(self.notes, *start, *start + SECOND);
            Delivered::of(second.iter().filter(|note| note.called >= fault.back), side).count as f64 >= enough
        };
        let last = self.end.saturating_sub(SECOND);
        (fault.back..last).step_by(SECOND as usize / 10).find(is_full).map(|start| start - fault.back)
    }

    /// How long after the return the first record was delivered that was produced after it.
    pub(crate) fn used_again_after(&self, fault: &Fault) -> Option<Micros> {
        let side = Side::Hurt(fault.broker);
        let fresh = self.notes.iter().filter(|note| note.is_delivered() && side.has(note) && note.called >= fault.back);
        fresh.map(|note| note.called - fault.back).min()
    }

    /// The longest time from a call to its outcome.
    pub(crate) fn longest(&self) -> Micros {
        self.notes.iter().map(Note::latency).max().unwrap_or_default()
    }

    /// Delivered records in partitions that the topic did not have at first.
    pub(crate) fn in_added(&self) -> usize {
        self.notes.iter().filter(|note| note.is_delivered() && note.partition() >= PARTITIONS).count()
    }

    /// Calls that did not return at once.
    pub(crate) fn waited(&self) -> usize {
        self.notes.iter().filter(|note| note.accepted - note.called > WAITED).count()
    }

    /// Records without a key that went to a broker that had not answered for longer than the availability timeout.
    pub(crate) fn misled(&self, fault: &Fault) -> usize {
        let side = Side::Hurt(fault.broker);
        let from = fault.from + self.options.availability * 1_000 + LEAVE;
        self.notes.iter().filter(|note| side.has(note) && (from..fault.healed).contains(&note.called)).count()
    }

    /// Each partition's longest time without a delivered record, and when it began.
    pub(crate) fn gaps(&self) -> Vec<(i32, Micros, Micros)> {
        let gap = |partition| {
            let of_it = self.notes.iter().filter(|note| note.is_delivered() && note.partition() == partition);
            let times: Vec<_> = of_it.map(|note| note.ended).take_while(|ended| *ended < self.end).collect();
            let ends = times.iter().copied().skip(1).chain([self.end]);
            let longest = times.iter().zip(ends).map(|(&from, to)| (to - from, from)).max();
            let (length, from) = longest.unwrap_or((self.end, 0));
            (partition, length, from)
        };
        (0..PARTITIONS).map(gap).collect()
    }

    /// From a fault's begin until all partitions are whole again.
    pub(crate) fn longest_fault(&self) -> Micros {
        self.faults.iter().map(|fault| fault.back - fault.from).max().unwrap_or_default()
    }
}
