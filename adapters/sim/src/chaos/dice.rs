//! What one kind of chaos draws.

use std::time::Duration;

use crate::rng::Rng;

/// One kind's own sequence of random numbers: what it draws does not depend on the other kinds.
pub(super) struct Dice {
    rng: Rng,
    per_mille: u64,
    /// In microseconds.
    at_most: u64,
}

/// Those of each kind.
pub(super) struct AllDice {
    pub(super) delays: Dice,
    pub(super) late_reports: Dice,
    pub(super) full_queues: Dice,
    pub(super) rejections: Dice,
}

impl Dice {
    pub(super) fn new(seed: u64, kind: u64, per_mille: u32, at_most: Duration) -> Self {
        let rng = Rng::new(Rng::new(seed ^ (kind << 56)).next());
        let at_most = u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX);
        Self { rng, per_mille: per_mille.into(), at_most }
    }

    pub(super) fn hits(&mut self) -> bool {
        self.rng.below(1000) < self.per_mille
    }

    /// A time up to the longest, and never zero.
    pub(super) fn time(&mut self) -> Duration {
        Duration::from_micros(self.rng.below(self.at_most) + 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }
}
