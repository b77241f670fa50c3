//! Whether records are delivered, and by whom they are not.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_core::backend::PartitionLoad;
use aioproducer_core::{Lane, LaneStats};

use super::producer::AioProducer;

/// Lanes that are looked at while the lock is held.
const LANES: usize = 256;

/// Whether records are delivered, see [`AioProducer::health`].
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
    /// Whether the backend has a connection. `None` if it does not count them.
    pub is_connected: Option<bool>,
    /// The age of the oldest record without an outcome, from its `produce` on. `None` if all have one.
    pub oldest: Option<Duration>,
    /// Records in the pool whose partition is not chosen yet, or was chosen at the hand-off.
    pub anywhere: usize,
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
    /// For how long it has left records without an answer, at the partition where that is longest. `None` if it has none.
    pub unanswered_for: Option<Duration>,
    /// How long ago it has answered last. `None` if it has not.
    pub answered: Option<Duration>,
    /// A partition of it has left records without an answer for the availability timeout, or the leader has for another partition.
    /// Records that may go elsewhere do, and others have a smaller share of the pool.
    pub is_unavailable: bool,
}

impl LeaderHealth {
    fn add_load(&mut self, load: &PartitionLoad) {
        self.partitions += 1;
        self.in_flight += load.records;
        self.unanswered_for = self.unanswered_for.max(load.unanswered_for);
        self.answered = load.answered;
        self.is_unavailable |= load.is_passed_over;
    }

    fn add_lane(&mut self, lane: &LaneStats, oldest: Option<Duration>) {
        self.waiting += lane.buffered;
        self.oldest_waiting = self.oldest_waiting.max(oldest);
        self.is_unavailable |= lane.is_unavailable;
    }
}

impl AioProducer {
    /// Whether records are delivered: for each leader, what waits for it, what it has left without an answer, and for how long. It
    /// comes from the producer's own counts, so it needs no statistics of librdkafka and asks no broker. It takes a time that grows
    /// with the partitions that are in use, and no lock for all of it.
    ///
    /// A leader that is paused, cut off or overloaded shows in [`LeaderHealth::unanswered_for`] at once, and is
    /// [unavailable](LeaderHealth::is_unavailable) after the availability timeout. [`Health::oldest`] says whether all is well if
    /// one number is to do it: it stays below the time that a delivery takes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use aioproducer_driver::AioProducer;
    /// /// The answer of `/healthz`: an error as long as records do not get through.
    /// fn healthz(producer: &AioProducer) -> Result<(), String> {
    ///     let health = producer.health();
    ///     match health.oldest {
    ///         Some(age) if age > Duration::from_secs(10) => {
    ///             let brokers: Vec<_> = health.unavailable().filter_map(|leader| leader.broker).collect();
    ///             Err(format!("a record waits for {age:?}; brokers that do not answer: {brokers:?}"))
    ///         }
    ///         _ => Ok(()),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        let shared = self.shared();
        let backend = shared.backend();
        let loads = backend.map(|backend| backend.loads()).unwrap_or_default();
        let is_connected = backend.and_then(|backend| backend.connections()).map(|connections| connections.up > 0);
        let now = shared.runtime.now();
        let oldest = shared.with(|state, _| state.machine.oldest()).map(|at| now - at);

        let mut leaders: BTreeMap<Option<i32>, LeaderHealth> = BTreeMap::new();
        let mut leader_of = BTreeMap::new();
        for load in &loads {
            leader_of.insert(Lane::new(load.topic, Some(load.partition)), load.leader);
            leaders.entry(load.leader).or_default().add_load(load);
        }
        let (mut anywhere, mut from) = (0, 0);
        let mut lanes = Vec::new();
        loop {
            let known = shared.with(|state, _| {
                let known = state.machine.known_lanes();
                lanes.extend(state.machine.lane_stats(from..known.min(from + LANES)));
                known
            });
            for lane in lanes.drain(..) {
                if lane.lane.partition().is_none() {
                    anywhere += lane.buffered + lane.handed_off;
                    continue;
                }
                let age = lane.oldest.map(|at| now - at);
                let leader = leader_of.get(&lane.lane).copied().flatten();
                leaders.entry(leader).or_default().add_lane(&lane, age);
            }
            from += LANES;
            if from >= known {
                break;
            }
        }
        let leaders = leaders.into_iter().map(|(broker, leader)| LeaderHealth { broker, ..leader }).collect();
        Health { is_connected, oldest, anywhere, leaders }
    }
}
