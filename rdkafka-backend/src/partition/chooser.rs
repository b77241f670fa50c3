//! The partition that records without a key share for a while, and random partitions.

use std::time::{Duration, Instant};

use crate::partition::candidates::Candidates;
use crate::partition::load::Loads;

/// What a choice depends on besides the chooser's own state.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// `None` if all partitions are equal.
    pub(super) loads: Option<&'a Loads>,
    pub(super) now: Instant,
}

pub(super) struct Chooser {
    /// The number of partitions; 0 while it is unknown.
    count: i32,
    /// Partitions that have a leader.
    leaders: Vec<i32>,
    /// The next call of `observe` refreshes `leaders`.
    stale: bool,
    candidates: Candidates,
    sticky: Option<i32>,
    /// Bytes sent to `sticky`, and since when.
    sent: usize,
    since: Option<Instant>,
    sticky_time: Duration,
    sticky_bytes: usize,
    random: u64,
}

impl Chooser {
    pub(super) fn new(seed: u64, sticky_time: Duration, sticky_bytes: usize) -> Self {
        Self {
            count: 0,
            leaders: Vec::new(),
            stale: true,
            candidates: Candidates::default(),
            sticky: None,
            sent: 0,
            since: None,
            sticky_time,
            sticky_bytes,
            random: seed | 1,
        }
    }

    /// The number of partitions; 0 while it is unknown.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    pub(super) fn forget(&mut self) {
        self.count = 0;
    }

    /// The next [`observe`](Self::observe) looks at all partitions.
    pub(super) fn observe_again(&mut self) {
        self.stale = true;
    }

    pub(super) fn observe(&mut self, count: i32, has_leader: impl Fn(i32) -> bool) {
        if !self.stale && self.count == count {
            return;
        }
        self.count = count;
        self.stale = false;
        self.leaders.clear();
        self.leaders.extend((0..count).filter(|partition| has_leader(*partition)));
        self.candidates.expire();
        self.sticky = self.sticky.filter(|sticky| self.leaders.contains(sticky));
    }

    /// The partition for a batch of `bytes` of sticky records. With `random` the batch may need [`any`](Self::any), too.
    pub(super) fn plan(&mut self, bytes: usize, random: bool, view: View<'_>) -> i32 {
        if random {
            self.update(view);
        }
        if self.since.is_none_or(|since| view.now.saturating_duration_since(since) >= self.sticky_time) {
            self.since = Some(view.now);
            self.sent = usize::MAX;
        }
        self.sticky(bytes, view)
    }

    /// The partition for `bytes` of sticky records.
    pub(super) fn sticky(&mut self, bytes: usize, view: View<'_>) -> i32 {
        let sticky = match self.sticky.filter(|_| self.sent < self.sticky_bytes) {
            Some(sticky) if !self.is_left(sticky, view) => sticky,
            _ => {
                self.sent = 0;
                self.next(view)
            }
        };
        self.sticky = Some(sticky);
        self.sent = self.sent.saturating_add(bytes);
        sticky
    }

    /// Whether a partition does not answer and another one does.
    fn is_left(&mut self, sticky: i32, view: View<'_>) -> bool {
        view.loads.is_some_and(|loads| loads.is_silent(sticky, view.now)) && {
            self.update(view);
            !self.candidates.all_silent()
        }
    }

    /// A random partition other than the sticky one.
    fn next(&mut self, view: View<'_>) -> i32 {
        self.update(view);
        self.draw(self.sticky)
    }

    /// A random partition, by the last [`update`](Self::update).
    pub(super) fn any(&mut self) -> i32 {
        self.draw(None)
    }

    /// Finds out which partitions answer, and how many records they have.
    pub(super) fn update(&mut self, view: View<'_>) {
        self.candidates.update(&self.leaders, view.loads, view.now);
    }

    /// A random candidate; any partition if none has a leader.
    fn draw(&mut self, except: Option<i32>) -> i32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = self.random >> 16;
        self.candidates.draw(random, except).unwrap_or_else(|| (random % self.count.max(1) as u64) as i32)
    }
}
