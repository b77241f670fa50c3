//! What each lane has.

use core::ops::Range;

use super::Producer;
use crate::storage::Storage;
use crate::{Instant, Lane, Record};

/// What a lane has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneStats {
    /// The lane.
    pub lane: Lane,
    /// Records that wait to be handed off.
    pub buffered: usize,
    /// When the oldest of those was accepted.
    pub oldest: Option<Instant>,
    /// Records that were handed off and whose slots are not back.
    pub handed_off: usize,
    /// Bytes that all of them count for.
    pub bytes: usize,
    /// Whether it is [unavailable](Producer::is_unavailable).
    pub is_unavailable: bool,
}

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// How many lanes have, or have had, records: the end of the ranges of [`Producer::lane_stats`].
    #[must_use]
    pub fn known_lanes(&self) -> usize {
        self.lanes.used() as usize
    }

    /// What the lanes with these numbers have, but for those that have nothing. The number of a lane that has something stays.
    ///
    /// ```
    /// # use aioproducer_core::{Inline, Instant, Lane, Limits, Producer, Record, TopicId};
    /// # struct Reading;
    /// # impl Record for Reading {
    /// #     fn lane(&self) -> Lane { Lane::new(TopicId(0), Some(3)) }
    /// #     fn size(&self) -> usize { 4 }
    /// # }
    /// # let limits = Limits { batch_records: 8, ..Limits::default() };
    /// # let mut machine: Producer<Reading, (), Inline<64, 2>> = Producer::new(limits, Inline::new()).unwrap();
    /// machine.produce(Instant::ZERO, Reading, ()).ok().unwrap();
    /// let lanes: Vec<_> = machine.lane_stats(0..machine.known_lanes()).collect();
    /// assert_eq!((lanes.len(), lanes[0].buffered, lanes[0].bytes), (1, 1, 4));
    /// ```
    pub fn lane_stats(&self, numbers: Range<usize>) -> impl Iterator<Item = LaneStats> {
        let numbers = numbers.start..numbers.end.min(self.known_lanes());
        let rows = numbers.filter_map(|number| self.lanes.get(number as u32));
        rows.filter(|row| row.buffered + row.handed_off > 0).map(|row| LaneStats {
            lane: row.lane,
            buffered: row.buffered as usize,
            oldest: self.pool.get(row.records.head).map(|slot| slot.accepted_at),
            handed_off: row.handed_off as usize,
            bytes: row.bytes,
            is_unavailable: self.lacks_answer(row),
        })
    }

    /// When the oldest record was accepted that has not ended.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.pool.eldest_at()
    }
}
