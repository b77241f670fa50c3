//! Purges: first the buffered records, then the backend, once it has what was on its way to it.

use super::Producer;
use super::pending::{Purge, Waiting};
use crate::lanes::Place;
use crate::slot::NIL;
use crate::storage::Storage;
use crate::{Completed, Phase, PurgeScope, Record};

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// Gives up what was accepted so far, as far as `scope` says: buffered records come back by [`Producer::poll_purged`],
    /// also those of lanes whose batch is out, and those of such a batch that the backend refuses. Then
    /// [`Action::Purge`](crate::Action::Purge) follows for the backend, when the batches are settled that are out now.
    ///
    /// No batch is cut before all buffered records have come back. A purge while one is under way adds to it. Linear in
    /// the lanes.
    ///
    /// ```
    /// # use aioproducer_core::{Action, Inline, Instant, Lane, Limits, Producer, PurgeScope, Record, TopicId};
    /// # struct Reading;
    /// # impl Record for Reading {
    /// #     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
    /// #     fn size(&self) -> usize { 4 }
    /// # }
    /// # let limits = Limits { batch_records: 8, ..Limits::default() };
    /// # let mut machine: Producer<Reading, &str, Inline<64, 2>> = Producer::new(limits, Inline::new()).unwrap();
    /// machine.produce(Instant::ZERO, Reading, "buffered").ok().unwrap();
    /// machine.purge(PurgeScope::All);
    /// assert_eq!(machine.poll_purged().unwrap().1.ticket, "buffered");
    /// assert!(machine.poll_purged().is_none());
    /// assert_eq!(machine.poll_action(true), Some(Action::Purge(PurgeScope::All)));
    /// ```
    pub fn purge(&mut self, scope: PurgeScope) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        self.purge.out = 0;
        for lane in (0..self.lanes.used()).rev() {
            let Some(row) = self.lanes.get(lane) else { continue };
            self.purge.out += u32::from(row.place == Place::Out);
            if scope.queued() && row.buffered > 0 {
                self.add_to_purge(lane);
            }
        }
        if scope.queued() {
            self.purge.below = self.next_sequence;
        }
        self.purge.asked = Some(self.purge.asked.map_or(scope, |before| before.and(scope)));
        self.purge.batches = self.batches;
        self.watch();
    }

    /// Stops the purges whose buffered records have not all come back: the others stay, and the backend is not asked for
    /// these purges. Linear in the lanes.
    pub fn stop_purge(&mut self) {
        if self.purge.asked.is_none() || self.first_purged().is_none() {
            return;
        }
        let waiting = self.purge.waiting;
        self.end_purge();
        if let Some(Waiting { scope, below, batches }) = waiting {
            self.purge = Purge { waiting, below, batches, ..Purge::NONE };
            for lane in (0..self.lanes.used()).rev() {
                let Some(row) = self.lanes.get(lane) else { continue };
                self.purge.out += u32::from(row.place == Place::Out && row.batch <= batches);
                // It came back from one of these batches.
                let came_back = self.pool.get(row.records.head).is_some_and(|slot| slot.sequence < below);
                if scope.queued() && came_back {
                    self.add_to_purge(lane);
                }
            }
        }
        self.watch();
    }

    fn add_to_purge(&mut self, lane: u32) {
        let next = self.purge.lanes;
        if let Some(row) = self.lanes.get_mut(lane).filter(|row| row.next_purged == NIL) {
            row.next_purged = if next == NIL { lane } else { next };
            self.purge.lanes = lane;
            self.halted = true;
        }
    }

    pub(super) fn set_halted(&mut self) {
        let ends = matches!(self.phase, Phase::Ending | Phase::Ended);
        self.halted = self.blocked || !self.connected || self.purge.has_buffered() || ends;
    }

    /// The next buffered record that a purge gives back, each lane's in order. The calls of one purge together are linear
    /// in its records and lanes.
    pub fn poll_purged(&mut self) -> Option<(R, Completed<T>)> {
        let (lane, first) = self.first_purged()?;
        let purged = self.end_buffered(first);
        self.place(lane);
        purged
    }

    /// The next record to be purged, and its lane.
    fn first_purged(&mut self) -> Option<(u32, u32)> {
        while let Some(row) = self.lanes.get(self.purge.lanes) {
            let (lane, first) = (self.purge.lanes, row.records.head);
            if self.pool.get(first).is_some_and(|slot| slot.sequence < self.purge.below) {
                return Some((lane, first));
            }
            self.leave_purge(lane);
        }
        None
    }

    fn leave_purge(&mut self, lane: u32) {
        self.purge.lanes = NIL;
        if let Some(row) = self.lanes.get_mut(lane) {
            let next = core::mem::replace(&mut row.next_purged, NIL);
            if next != lane {
                self.purge.lanes = next;
            }
        }
        self.set_halted();
    }

    /// A record of a batch that is out has come back.
    pub(super) fn purge_refused(&mut self, lane: u32) {
        let meant = self.purge.out > 0 && self.purge.queued();
        if meant && self.lanes.get(lane).is_some_and(|row| row.batch <= self.purge.batches) {
            self.add_to_purge(lane);
        }
    }

    /// A batch is settled.
    pub(super) fn settle_purge(&mut self, number: u64) {
        if self.purge.out > 0 && number <= self.purge.batches {
            self.purge.out -= 1;
            self.watch();
        }
    }

    /// What the backend is to purge now.
    pub(super) fn due_purge(&mut self) -> Option<PurgeScope> {
        if self.purge.has_buffered() {
            return None;
        }
        if let Some(asked) = self.purge.asked.take() {
            let scope = self.purge.waiting.map_or(asked, |waiting| waiting.scope.and(asked));
            self.purge.waiting = Some(Waiting { scope, below: self.purge.below, batches: self.purge.batches });
        }
        if self.purge.out > 0 { None } else { self.purge.waiting.take().map(|waiting| waiting.scope) }
    }

    /// Purges nothing any more: the producer ends.
    pub(super) fn end_purge(&mut self) {
        while self.purge.has_buffered() {
            self.leave_purge(self.purge.lanes);
        }
        self.purge = Purge::NONE;
        self.set_halted();
    }
}
