//! Brokers, topics and who leads what. Nothing here knows a producer.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_core::Instant;

use super::coordinator::Identity;
use super::event::{Trace, What};
use super::replication::Replication;
use crate::log::PartitionLog;
use crate::sync::Arc;

/// Of a broker that nothing slows, one way.
const LATENCY: Duration = Duration::from_millis(1);

/// Followers ask for more when they have written what they got.
const REPLICATION_LAG: Duration = Duration::from_millis(5);

/// Kafka's `message.max.bytes`.
const BATCH_BYTES: usize = 1_048_588;

/// The most replicas of a partition, as most clusters are set up.
const REPLICAS: usize = 3;

pub(crate) struct Broker {
    pub(crate) is_up: bool,
    /// When it comes back by itself.
    pub(crate) back_at: Option<Instant>,
    /// Until when it reads nothing.
    pub(crate) paused_until: Option<Instant>,
    /// One way.
    pub(crate) latency: Duration,
    /// Counts its starts: a connection belongs to one of them.
    pub(crate) generation: u64,
    /// How long it reads nothing more from a producer after each request, as a quota has it.
    pub(crate) throttle: Duration,
    /// Until when it reads nothing from a producer.
    pub(crate) muted: BTreeMap<u64, Instant>,
}

impl Broker {
    fn new() -> Self {
        Self {
            is_up: true,
            back_at: None,
            paused_until: None,
            latency: LATENCY,
            generation: 1,
            throttle: Duration::ZERO,
            muted: BTreeMap::new(),
        }
    }
}

pub(crate) struct Partition {
    pub(crate) log: PartitionLog,
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) replication: Replication,
}

impl Partition {
    /// `leader` leads from now on. Returns from which offset on records are lost by that.
    fn lead(&mut self, now: Instant, leader: i32) -> Option<i64> {
        self.leader = Some(leader);
        let lost = self.replication.lead(now, leader)?;
        self.log.truncate(lost);
        Some(lost)
    }
}

pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) partitions: Vec<Partition>,
}

pub(crate) struct Topology {
    /// The broker with the id 1 is the first.
    pub(crate) brokers: Vec<Broker>,
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
    pub(crate) min_in_sync: usize,
    /// The largest batch.
    pub(crate) batch_bytes: usize,
    /// How long it takes until followers have what a leader has.
    pub(crate) replication_lag: Duration,
    pub(crate) trace: Trace,
}

impl Topology {
    pub(crate) fn new() -> Self {
        let mut new = Self {
            brokers: Vec::new(),
            topics: BTreeMap::new(),
            min_in_sync: 1,
            batch_bytes: BATCH_BYTES,
            replication_lag: REPLICATION_LAG,
            trace: Trace::default(),
        };
        new.add_broker();
        new
    }

    pub(crate) fn add_broker(&mut self) {
        self.brokers.push(Broker::new());
    }

    pub(crate) fn broker(&mut self, id: i32) -> Option<&mut Broker> {
        self.brokers.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub(crate) fn is_up(&self, id: i32) -> bool {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        index.and_then(|index| self.brokers.get(index)).is_some_and(|broker| broker.is_up)
    }

    pub(crate) fn partition(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// Creates the topic, or adds partitions to it.
    pub(crate) fn add_partitions(&mut self, now: Instant, name: &str, count: usize) {
        let brokers = self.brokers.len();
        let name: Arc<str> = Arc::from(name);
        let topic = self.topics.entry(Arc::clone(&name)).or_insert(Topic { name, partitions: Vec::new() });
        for number in topic.partitions.len()..count {
            let replicas: Vec<_> =
                (0..brokers.min(REPLICAS)).map(|next| ((number + next) % brokers) as i32 + 1).collect();
            let is_up = |id: &&i32| self.brokers[**id as usize - 1].is_up;
            let leader = replicas.iter().find(is_up).copied();
            topic.partitions.push(Partition {
                log: PartitionLog::default(),
                leader,
                replicas,
                replication: Replication::default(),
            });
        }
        self.trace.push(now, What::Partitions { topic: Arc::clone(&topic.name), count: count as u64 });
    }

    /// Lets `id` lead.
    pub(crate) fn lead(&mut self, now: Instant, topic: &str, partition: i32, id: i32) {
        let Some(found) = self.partition(topic, partition) else { return };
        let lost = if found.leader == Some(id) { None } else { found.lead(now, id) };
        if !found.replicas.contains(&id) {
            found.replicas.push(id);
        }
        let topic = Arc::from(topic);
        self.trace.push(now, What::Leader { topic: Arc::clone(&topic), partition, broker: Some(id) });
        if let Some(from) = lost {
            self.trace.push(now, What::Lost { topic, partition, from });
        }
    }

    /// The broker's connections break, and others lead what it led.
    pub(crate) fn stop(&mut self, now: Instant, id: i32, back_at: Option<Instant>) {
        let Some(broker) = self.broker(id) else { return };
        broker.back_at = back_at;
        if !broker.is_up {
            return;
        }
        (broker.is_up, broker.paused_until) = (false, None);
        self.trace.push(now, What::Broker { broker: id, what: "stops" });
        self.elect(now);
    }

    /// The broker comes back, and leads what has no leader.
    pub(crate) fn start(&mut self, now: Instant, id: i32) {
        let Some(broker) = self.broker(id) else { return };
        (broker.back_at, broker.paused_until) = (None, None);
        if broker.is_up {
            return;
        }
        broker.is_up = true;
        broker.generation += 1;
        self.trace.push(now, What::Broker { broker: id, what: "starts" });
        self.elect(now);
    }

    /// All brokers are back and as fast as at first.
    pub(crate) fn heal(&mut self, now: Instant) {
        for id in 1..=self.brokers.len() as i32 {
            self.start(now, id);
            if let Some(broker) = self.broker(id) {
                (broker.paused_until, broker.latency) = (None, LATENCY);
                broker.throttle = Duration::ZERO;
                broker.muted.clear();
            }
        }
        self.elect(now);
    }

    /// Each partition whose leader is gone gets the first of its replicas that is up.
    fn elect(&mut self, now: Instant) {
        for topic in self.topics.values_mut() {
            for (number, partition) in (0..).zip(&mut topic.partitions) {
                let is_up = |id: &i32| self.brokers[*id as usize - 1].is_up;
                if partition.leader.as_ref().is_some_and(is_up) {
                    continue;
                }
                let leader = partition.replicas.iter().copied().find(is_up);
                let lost = match (partition.leader, leader) {
                    (None, None) => continue,
                    (_, Some(id)) => partition.lead(now, id),
                    (Some(before), None) => {
                        partition.replication.stop(now, before);
                        partition.leader = None;
                        None
                    }
                };
                let topic = Arc::clone(&topic.name);
                self.trace.push(now, What::Leader { topic: Arc::clone(&topic), partition: number, broker: leader });
                if let Some(from) = lost {
                    self.trace.push(now, What::Lost { topic, partition: number, from });
                }
            }
        }
    }

    /// Brokers whose time has come are back.
    pub(crate) fn advance(&mut self, now: Instant) {
        for id in 1..=self.brokers.len() as i32 {
            if self.broker(id).is_some_and(|broker| broker.back_at.is_some_and(|at| at <= now)) {
                self.start(now, id);
            }
        }
    }

    /// When the next broker comes back by itself.
    pub(crate) fn next_change(&self) -> Option<Instant> {
        self.brokers.iter().filter_map(|broker| broker.back_at).min()
    }

    /// The broker that coordinates a transactional id: which one depends on the id, and on which are up.
    pub(crate) fn coordinator(&self, id: &str) -> Option<i32> {
        let count = self.brokers.len();
        let first = id.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % count;
        (0..count).map(|next| ((first + next) % count) as i32 + 1).find(|id| self.is_up(*id))
    }

    /// Ends a transaction in a partition: all replicas get the marker.
    pub(crate) fn mark(&mut self, (topic, partition): &(Arc<str>, i32), identity: Identity, is_commit: bool) {
        if let Some(found) = self.partition(topic, *partition) {
            found.log.end(identity.producer, identity.epoch, is_commit);
            found.replication.complete();
        }
    }

    /// The replicas of a partition whose brokers are up: all of them are in sync.
    pub(crate) fn in_sync(&self, partition: &Partition) -> Vec<i32> {
        partition.replicas.iter().copied().filter(|id| self.is_up(*id)).collect()
    }
}
