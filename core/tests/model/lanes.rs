//! The model of what lanes may have: windows, and which lanes have had a row.

use std::collections::{HashMap, HashSet};

use aioproducer_core::{Instant, Isolation, Lane, Limits, TopicId};

use crate::Item;

pub(crate) struct Windows {
    isolation: Option<Isolation>,
    /// The largest window.
    most: usize,
    slots: usize,
    /// Rows that there may be.
    capacity: usize,
    /// Learned windows.
    windows: HashMap<Lane, usize>,
    /// The last report, or hand-off to a backend that had nothing.
    heard: HashMap<Lane, Instant>,
    /// The times of those after which there was relief.
    relieved: HashMap<Lane, Instant>,
    /// Lanes that have a row,
    rows: Vec<Lane>,
    /// and those of them that have nothing, the one that is so for longest first.
    idle: Vec<Lane>,
    /// Lanes that have waited for credit since their last batch.
    limited: HashSet<Lane>,
    /// The first record of a topic without a number of partitions, since there was none.
    unplaced: HashMap<TopicId, u64>,
    /// The last record of a lane that stays behind those.
    behind: HashMap<Lane, u64>,
    /// The last report of any lane.
    last: Instant,
}

impl Windows {
    pub(crate) fn new(limits: &Limits, slots: usize, capacity: usize) -> Self {
        let (isolation, most) = (limits.isolation, slots.max(limits.pool_bytes / 1024));
        let (windows, heard, relieved, rows, idle, limited, unplaced, behind) = Default::default();
        let last = Instant::ZERO;
        Self { isolation, most, slots, capacity, windows, heard, relieved, rows, idle, limited, unplaced, behind, last }
    }

    fn least(&self) -> usize {
        self.isolation.map_or(0, |isolation| isolation.window.max(1) as usize)
    }

    fn window(&self, lane: Lane) -> usize {
        // All records of a lane without a partition may go to one that does not answer.
        let part = if lane == Lane::new(lane.topic(), None) { self.slots / 16 } else { 0 };
        self.windows.get(&lane).copied().unwrap_or(0).max(self.least()).max(part)
    }

    /// A lane got a record; `waits` says whether unplaced ones of its topic do.
    pub(crate) fn add(&mut self, item: &Item, waits: bool) {
        let lane = item.lane;
        self.idle.retain(|idle| *idle != lane);
        if !self.rows.contains(&lane) {
            if self.rows.len() == self.capacity {
                let evicted = self.idle.remove(0);
                self.rows.retain(|row| *row != evicted);
                self.windows.remove(&evicted);
                self.relieved.remove(&evicted);
            }
            self.rows.push(lane);
        }
        if lane.is_unplaced() && !waits {
            self.unplaced.insert(lane.topic(), item.number);
        } else if !lane.is_unplaced() && waits && item.may_follow() {
            self.behind.insert(lane, item.number);
            self.windows.insert(Lane::unplaced(lane.topic()), u32::MAX as usize);
        }
    }

    pub(crate) fn is_behind(&self, lane: Lane) -> bool {
        !lane.is_unplaced() && self.behind.get(&lane).is_some_and(|last| self.unplaced[&lane.topic()] < *last)
    }

    /// How many rows there are that have a lane.
    pub(crate) fn known(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn credit(&self, lane: Lane, in_flight: usize, bytes: usize) -> usize {
        if self.isolation.is_none() {
            return usize::MAX;
        }
        let window = self.window(lane);
        if in_flight > 0 && bytes >= window * 1024 { 0 } else { window.saturating_sub(in_flight) }
    }

    pub(crate) fn silent_at(&self, lane: Lane) -> Option<Instant> {
        Some(self.heard.get(&lane).copied()? + self.isolation?.availability_timeout)
    }

    pub(crate) fn is_silent(&self, lane: Lane, now: Instant) -> bool {
        self.silent_at(lane).is_some_and(|at| at <= now)
    }

    /// Until when lanes that are silent have less than others.
    pub(crate) fn shares_due(&self, now: Instant) -> Option<Instant> {
        Some(self.last + self.isolation?.availability_timeout).filter(|at| now < *at)
    }

    pub(crate) fn limit(&mut self, lane: Lane) {
        self.limited.insert(lane);
    }

    pub(crate) fn handed_off(&mut self, lane: Lane, first: bool, in_flight: usize, now: Instant) {
        if first {
            if self.is_silent(lane, now) {
                self.windows.entry(lane).and_modify(|window| *window /= 2);
            }
            self.heard.insert(lane, now);
        }
        if let Some(window) = self.windows.get_mut(&lane)
            && in_flight < *window / 8
        {
            *window -= *window / 64;
        }
    }

    pub(crate) fn unlimit(&mut self, lane: Lane) {
        self.limited.remove(&lane);
    }

    pub(crate) fn reported(&mut self, lane: Lane, size: usize, now: Instant) {
        if self.limited.contains(&lane) {
            let grown = (self.window(lane) + (size / 1024).max(1)).min(self.most);
            let halved = self.windows.get(&lane).map_or(0, |window| window / 2);
            self.windows.insert(lane, if self.is_silent(lane, now) { halved } else { grown });
        }
        self.heard.insert(lane, now);
        self.last = now;
    }

    /// When a lane is relieved: after a tenth of the timeout, and each time that it has passed.
    pub(crate) fn relief_at(&self, lane: Lane) -> Option<Instant> {
        let (heard, timeout) = (self.heard.get(&lane).copied()?, self.isolation?.availability_timeout);
        Some(heard + if self.relieved.get(&lane) == Some(&heard) { timeout } else { timeout / 10 })
    }

    pub(crate) fn relieve(&mut self, lane: Lane, in_flight: usize, now: Instant) {
        self.windows.insert(lane, in_flight + (self.least() / 4).max(1));
        if self.is_silent(lane, now) {
            self.heard.insert(lane, now);
        }
        self.relieved.extend(self.heard.get(&lane).map(|heard| (lane, *heard)));
    }

    /// Only `lanes` have something.
    pub(crate) fn rest(&mut self, lanes: &[Lane]) {
        self.behind.retain(|lane, _| lanes.contains(lane));
        self.limited.retain(|lane| lanes.contains(lane));
        let rests = self.rows.iter().filter(|lane| !lanes.contains(lane) && !self.idle.contains(lane)).copied();
        self.idle.extend(rests.collect::<Vec<_>>());
    }
}
