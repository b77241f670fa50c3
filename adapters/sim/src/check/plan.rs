//! What a check varies.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use aioproducer_history::Allow;

use crate::cluster::FaultKind;

/// Few enough for a pool whose memory takes no time.
const SLOTS: usize = 4_096;

/// What [`check`](crate::check) varies: the seeds, the kinds of faults that a seed may draw, and the cluster.
///
/// ```
/// use aioproducer_sim::{FaultKind, Plan};
///
/// let plan = Plan::swarm().brokers(3).topic("orders", 6).without(FaultKind::BrokerPause).seeds(0..1000);
/// # drop(plan);
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Plan {
    seeds: Range<u64>,
    kinds: BTreeSet<FaultKind>,
    pub(super) brokers: usize,
    pub(super) topics: Vec<(String, usize)>,
    pub(super) faults_for: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) wall_limit: Duration,
    pub(super) idempotent: bool,
    pub(super) slots: usize,
    pub(super) allow: Allow,
}

impl Plan {
    /// Seeds 0 to 99, all kinds of faults, 3 brokers and no topic. Each run draws which kinds there are, and how often.
    pub fn swarm() -> Self {
        Self {
            seeds: 0..100,
            kinds: FaultKind::all().collect(),
            brokers: 3,
            topics: Vec::new(),
            faults_for: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(120),
            wall_limit: Duration::from_secs(60),
            idempotent: true,
            slots: SLOTS,
            allow: Allow::nothing(),
        }
    }

    /// The same without faults: only the order of tasks differs from seed to seed.
    pub fn calm() -> Self {
        Self { kinds: BTreeSet::new(), ..Self::swarm() }
    }

    /// The seeds, if the environment does not name others.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// No run draws this kind.
    pub fn without(mut self, kind: FaultKind) -> Self {
        self.kinds.remove(&kind);
        self
    }

    /// How many brokers there are, 3 by default.
    pub fn brokers(mut self, count: usize) -> Self {
        self.brokers = count;
        self
    }

    /// One topic more.
    pub fn topic(mut self, name: impl Into<String>, partitions: usize) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// Until when there are faults, in virtual time: 10 s by default. If the scenario ends earlier, all heals then.
    pub fn faults_for(mut self, duration: Duration) -> Self {
        self.faults_for = duration;
        self
    }

    /// The delivery timeout of [`Case::producer`](crate::Case::producer), 2 minutes by default.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Whether the producers of [`Case::producer`](crate::Case::producer) are idempotent, as they are by default.
    pub fn idempotence(mut self, enabled: bool) -> Self {
        self.idempotent = enabled;
        self
    }

    /// How many records the producers of [`Case::producer`](crate::Case::producer) hold at once: 4,096 by default, fewer than those of
    /// the builder, as each run allocates them.
    pub fn slots(mut self, records: usize) -> Self {
        self.slots = records;
        self
    }

    /// Records may be in the log more than once: for producers without idempotence, if the application can bear that.
    pub fn allow_duplicates(mut self) -> Self {
        self.allow = self.allow.duplicates();
        self
    }

    /// How long a run may take in real time, a minute by default.
    pub fn wall_limit(mut self, limit: Duration) -> Self {
        self.wall_limit = limit;
        self
    }

    pub(super) fn seeds_in_plan(&self) -> Range<u64> {
        self.seeds.clone()
    }

    pub(super) fn kinds(&self) -> &BTreeSet<FaultKind> {
        &self.kinds
    }
}
