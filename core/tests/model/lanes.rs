//! The model of what lanes may have: windows, and which lanes have had a row.

use std::collections::{HashMap, HashSet};

use aioproducer_core::{Instant, Isolation, Lane};

pub(crate) struct Windows {
    isolation: Option<Isolation>,
    slots: usize,
    /// Learned windows.
    windows: HashMap<Lane, usize>,
    /// The last report, or hand-off to a backend that had nothing.
    heard: HashMap<Lane, Instant>,
    ever: HashSet<Lane>,
    /// Lanes that have waited for credit since their last batch.
    limited: HashSet<Lane>,
    /// Lanes that got a placed record since they last were empty.
    with_placed: HashSet<Lane>,
    /// The last report of any lane.
    last: Instant,
}

impl Windows {
    pub(crate) fn new(isolation: Option<Isolation>, slots: usize) -> Self {
        let (windows, heard, ever, limited, with_placed) = Default::default();
        Self { isolation, slots, windows, heard, ever, limited, with_placed, last: Instant::ZERO }
    }

    fn least(&self) -> usize {
        self.isolation.map_or(0, |isolation| isolation.window.max(1) as usize)
    }

    fn window(&self, lane: Lane) -> usize {
        self.windows.get(&lane).copied().unwrap_or(0).max(self.least())
    }

    pub(crate) fn add(&mut self, lane: Lane, placed: bool) {
        self.ever.insert(lane);
        if placed {
            self.with_placed.insert(lane);
        }
    }

    pub(crate) fn has_placed(&self, lane: Lane) -> bool {
        self.with_placed.contains(&lane)
    }

    /// How many rows there are that have a lane.
    pub(crate) fn known(&self, rows: usize) -> usize {
        self.ever.len().min(rows)
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
            let heard = self.heard.entry(lane).or_insert(now);
            *heard = now.max(*heard);
        }
        if let Some(window) = self.windows.get_mut(&lane)
            && in_flight < *window / 4
        {
            *window -= *window / 16;
        }
    }

    pub(crate) fn unlimit(&mut self, lane: Lane) {
        self.limited.remove(&lane);
    }

    pub(crate) fn reported(&mut self, lane: Lane, now: Instant) {
        if self.limited.contains(&lane) {
            let least = self.least();
            let grown = (self.window(lane) + 1).min(self.slots.max(least));
            self.windows.insert(lane, if self.is_silent(lane, now) { least } else { grown });
        }
        self.heard.insert(lane, now);
        self.last = now;
    }

    pub(crate) fn relieve(&mut self, lane: Lane, in_flight: usize, now: Instant) {
        self.windows.insert(lane, in_flight + (self.least() / 4).max(1));
        self.heard.insert(lane, now);
    }

    /// Of lanes that have nothing, nothing is known.
    pub(crate) fn retain(&mut self, lanes: &[Lane], waits: impl Fn(Lane) -> bool) {
        self.with_placed.retain(|lane| waits(*lane));
        self.windows.retain(|lane, _| lanes.contains(lane));
        self.limited.retain(|lane| lanes.contains(lane));
    }
}
