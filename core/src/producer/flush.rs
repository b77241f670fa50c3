//! Flushes: what they wait for, and what is left of it.

use super::Producer;
use crate::flushes::{FlushGroup, FlushPoint, FlushScope, Flushed};
use crate::lanes::{LaneRow, Place};
use crate::slot::NIL;
use crate::storage::Storage;
use crate::{Lane, Phase, Record, TopicId};

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// Cuts the linger of everything in `scope` that was accepted so far, and asks the backend to do the same
    /// ([`Action::Flush`](crate::Action::Flush)). What it waits for can be asked with [`Producer::is_flushed`].
    ///
    /// Linear in the lanes: for [`FlushScope::All`] in those that linger, for [`FlushScope::Partition`] in none.
    ///
    /// ```
    /// # use aioproducer_core::{FlushScope, Inline, Instant, Lane, Limits, Producer, Record, TopicId};
    /// # struct Reading;
    /// # impl Record for Reading {
    /// #     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
    /// #     fn size(&self) -> usize { 4 }
    /// # }
    /// # let limits = Limits { batch_records: 8, ..Limits::default() };
    /// # let mut machine: Producer<Reading, (), Inline<64, 2>> = Producer::new(limits, Inline::new()).unwrap();
    /// # let now = Instant::ZERO;
    /// let slot = machine.produce(now, Reading, ()).ok().unwrap();
    /// let flush = machine.flush(FlushScope::Topic(TopicId(0)));
    /// machine.produce(now, Reading, ()).ok().unwrap();
    /// assert_eq!(machine.left_of(flush), 1, "the later record does not count");
    ///
    /// machine.retract(slot).unwrap();
    /// assert!(machine.is_flushed(flush));
    /// assert!(machine.poll_flushed().is_some_and(|flushed| flush.position() < flushed.below));
    /// ```
    pub fn flush(&mut self, scope: FlushScope) -> FlushPoint {
        let position = self.next_sequence;
        let mut cell = NIL;
        match scope {
            FlushScope::All => {
                self.flush_below = position;
                // They are due, so none of them lingers any more.
                while let Some(lane) = self.lanes.first_lingering() {
                    self.place(lane);
                }
                self.flushes.begin_all(position, self.len() as u32);
            }
            FlushScope::Topic(topic) => cell = self.flush_topic(topic, position),
            FlushScope::Partition(..) => {
                for group in scope.groups().into_iter().flatten() {
                    let FlushGroup::Lane(lane) = group else { continue };
                    let Some(at) = self.lanes.find(lane) else { continue };
                    self.hurry(at);
                    if let Some(row) = self.lanes.get_mut(at) {
                        self.flushes.begin_lane(row, position);
                    }
                }
            }
        }
        self.watch();
        let point = FlushPoint::new(position, scope, cell);
        let has_backend = matches!(self.phase, Phase::Open | Phase::Closing(_));
        self.actions.flush |= has_backend && !self.is_flushed(point);
        point
    }

    fn flush_topic(&mut self, topic: TopicId, position: u64) -> u32 {
        let (mut outstanding, mut cell) = (0, NIL);
        for at in 0..self.lanes.used() {
            let Some(row) = self.lanes.get(at).filter(|row| row.place != Place::Vacant) else { continue };
            if row.lane.topic() == topic {
                outstanding += row.len() as u32;
                cell = self.flushes.topic_in(row.topic, topic).unwrap_or(cell);
                self.hurry(at);
            }
        }
        if outstanding == 0 {
            return NIL;
        }
        if cell == NIL {
            cell = self.flushes.add_topic(topic);
        }
        for at in 0..self.lanes.used() {
            let row = self.lanes.get_mut(at);
            if let Some(row) = row.filter(|row| row.place != Place::Vacant && row.lane.topic() == topic) {
                row.topic = cell;
            }
        }
        self.flushes.begin_topic(cell, position, outstanding);
        cell
    }

    /// Whether every record that the flush waits for has ended. Logarithmic in the flushes of its groups.
    #[must_use]
    pub fn is_flushed(&self, point: FlushPoint) -> bool {
        self.left_of(point) == 0
    }

    /// How many records the flush waits for. Logarithmic in the flushes of its groups.
    #[must_use]
    pub fn left_of(&self, point: FlushPoint) -> usize {
        self.flushes.left(point, |lane| self.points_of(lane)) as usize
    }

    /// Flushes that are over since this was last asked, a group at a time, for those that wait for them. Linear in the topics
    /// that are being flushed, if that of the group was flushed again since; else logarithmic in the flushes of the group.
    ///
    /// Answers wait in the table of flush points until they are asked for. When a flush needs the place, the oldest is lost.
    /// That does not happen to a caller that asks after each command and input.
    pub fn poll_flushed(&mut self) -> Option<Flushed> {
        if !self.flushes.has_reached() {
            return None;
        }
        let lanes = &self.lanes;
        let root = |lane| lanes.find(lane).and_then(|at| lanes.get(at)).map_or(NIL, |row| row.points);
        let (group, first) = self.flushes.pop_reached(root)?;
        Some(Flushed { group, below: first.unwrap_or(u64::MAX) })
    }

    fn points_of(&self, lane: Lane) -> u32 {
        self.lanes.find(lane).and_then(|at| self.lanes.get(at)).map_or(NIL, |row| row.points)
    }

    /// Cuts the linger of what the lane holds.
    pub(super) fn hurry(&mut self, lane: u32) {
        let below = self.next_sequence;
        if let Some(row) = self.lanes.get_mut(lane) {
            row.flush_below = below;
            self.place(lane);
        }
    }

    /// Counts what is rare: while there is none of it, a record's end and the next deadline concern nothing else.
    pub(super) fn watch(&mut self) {
        let is_rare =
            self.late > 0 || self.blocked || self.purge.is_waiting() || matches!(self.phase, Phase::Closing(_));
        let counted = self.timers.len().saturating_add(self.copies).saturating_add(self.flushes.len());
        self.watched = counted.saturating_add(u32::from(is_rare));
    }

    /// A record has ended, and its record was taken out if it was buffered: flushes count it, and its own timeout is over.
    #[inline(always)]
    pub(super) fn note_end(&mut self, index: u32, lane: u32, sequence: u64) {
        if self.watched > 0 {
            self.end_watched(index, lane, sequence);
        }
    }

    #[cold]
    pub(super) fn end_watched(&mut self, index: u32, lane: u32, sequence: u64) {
        self.timers.remove(&mut self.pool, index);
        if self.copies > 0 {
            self.drop_copy(index);
        }
        if let Some(row) = self.lanes.get_mut(lane) {
            self.flushes.end_record(row, sequence);
        }
        self.watch();
    }

    /// How many records of `lane` have not ended.
    #[must_use]
    pub fn len_of(&self, lane: Lane) -> usize {
        self.lanes.find(lane).and_then(|at| self.lanes.get(at)).map_or(0, LaneRow::len)
    }

    /// How many records of the lanes that `matches` names have not ended. Linear in the lanes.
    #[must_use]
    pub fn len_in(&self, matches: impl Fn(Lane) -> bool) -> usize {
        let rows = (0..self.lanes.used()).filter_map(|at| self.lanes.get(at));
        rows.filter(|row| row.place != Place::Vacant && matches(row.lane)).map(LaneRow::len).sum()
    }
}
