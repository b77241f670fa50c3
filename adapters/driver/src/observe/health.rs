//! Whether records are delivered, from the counts of the backend and of the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_core::backend::PartitionLoad;
use aioproducer_core::{Instant, Lane, LaneStats};

/// Whether records are delivered, see [`AioProducer::health`](crate::AioProducer::health).
///
/// ```
/// # use std::time::Duration;
/// # use aioproducer_driver::Health;
/// /// Whether requests are to be sent here.
/// fn is_ready(health: &Health) -> bool {
///     health.is_connected != Some(false) && health.oldest.is_none_or(|age| age < Duration::from_secs(10))
/// }
/// assert!(is_ready(&Health::default()));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the backend has a connection. Nothing is handed off without one. `None` if it does not count them.
    pub is_connected: Option<bool>,
    /// The age of the oldest record without an outcome, from its `produce` on. `None` if all have one.
    pub oldest: Option<Duration>,
    /// Records in the pool whose partition is not chosen yet, or was chosen at the hand-off.
    pub anywhere: usize,
    /// Bytes that those count for. They count for no leader, as the pool counts the bytes of a topic's lanes and not of its partitions.
    pub anywhere_bytes: usize,
    /// The brokers that lead partitions to which records were sent, in the order of their ids; before them, without an id, what is
    /// for partitions of which no broker has answered.
    pub leaders: Vec<LeaderHealth>,
}

impl Health {
    /// The leaders that do not answer.
    pub fn unavailable(&self) -> impl Iterator<Item = &LeaderHealth> {
        self.leaders.iter().filter(|leader| leader.is_unavailable)
    }
}

/// Whether a leader answers. Counts are of records.
///
/// ```
/// # use aioproducer_driver::{Health, LeaderHealth};
/// /// A line for each leader that does not answer.
/// fn complain(health: &Health) {
///     for LeaderHealth { broker, waiting, in_flight, unanswered_for, .. } in health.unavailable() {
///         eprintln!("broker {broker:?}: {waiting} records wait, {in_flight} have had no answer for {unanswered_for:?}");
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderHealth {
    /// The broker's id.
    pub broker: Option<i32>,
    /// Partitions that it leads, as far as records were sent to them.
    pub partitions: usize,
    /// Records that wait in the pool for these partitions.
    pub waiting: usize,
    /// The age of the oldest of those.
    pub oldest_waiting: Option<Duration>,
    /// Records that the backend has for it.
    pub in_flight: usize,
    /// Bytes that the records count for which name one of these partitions, or were placed there because of their key: those that
    /// wait, and those that the backend has. Other records are in [`Health::anywhere_bytes`].
    pub bytes: usize,
    /// For how long it has left records without an answer, at the partition where that is longest. `None` if it has none.
    pub unanswered_for: Option<Duration>,
    /// How long ago it has answered last. `None` if it has not.
    pub answered: Option<Duration>,
    /// A partition of it has left records without an answer for the availability timeout, or the leader has for another partition.
    /// Records that may go elsewhere do, and others have a smaller share of the pool.
    pub is_unavailable: bool,
}

/// What of the counts makes a [`Health`].
pub(crate) struct Counts {
    now: Instant,
    health: Health,
    leaders: BTreeMap<Option<i32>, LeaderHealth>,
    leader_of: BTreeMap<Lane, Option<i32>>,
}

impl Counts {
    pub(crate) fn new(now: Instant, is_connected: Option<bool>, oldest: Option<Instant>) -> Self {
        let health = Health { is_connected, oldest: oldest.map(|at| now - at), ..Health::default() };
        Self { now, health, leaders: BTreeMap::new(), leader_of: BTreeMap::new() }
    }

    /// Adds what the backend has of a partition. All of these come before the lanes.
    pub(crate) fn add_load(&mut self, load: &PartitionLoad) {
        self.leader_of.insert(Lane::new(load.topic, Some(load.partition)), load.leader);
        let leader = self.leaders.entry(load.leader).or_default();
        leader.partitions += 1;
        leader.in_flight += load.records;
        leader.unanswered_for = leader.unanswered_for.max(load.unanswered_for);
        leader.answered = load.answered;
        leader.is_unavailable |= load.is_passed_over;
    }

    /// Adds what the machine has of a lane.
    pub(crate) fn add_lane(&mut self, lane: &LaneStats) {
        if lane.lane.partition().is_none() {
            self.health.anywhere += lane.buffered + lane.handed_off;
            self.health.anywhere_bytes += lane.bytes;
            return;
        }
        let broker = self.leader_of.get(&lane.lane).copied().flatten();
        let leader = self.leaders.entry(broker).or_default();
        leader.waiting += lane.buffered;
        leader.oldest_waiting = leader.oldest_waiting.max(lane.oldest.map(|at| self.now - at));
        leader.bytes += lane.bytes;
        leader.is_unavailable |= lane.is_unavailable;
    }

    pub(crate) fn finish(self) -> Health {
        let leaders = self.leaders.into_iter().map(|(broker, leader)| LeaderHealth { broker, ..leader }).collect();
        Health { leaders, ..self.health }
    }
}
