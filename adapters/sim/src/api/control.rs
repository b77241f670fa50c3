//! Brokers, leaders, topics and groups in a test's hand.

use std::time::Duration;

use super::cluster::SimCluster;
use crate::cluster::{Shared, What};
use crate::log::{LogRecord, PartitionLog};
use crate::sync::Arc;

/// A broker of a [`SimCluster`]: [`SimCluster::broker`]. After the cluster's end, what changes it panics.
///
/// ```
/// # use std::time::Duration;
/// # use aioproducer_sim::SimCluster;
/// let kafka = SimCluster::new().with_brokers(3).with_topic("orders", 6);
/// kafka.broker(1).stop();
/// kafka.broker(2).pause(Duration::from_secs(5));
/// kafka.broker(3).slow(Duration::from_millis(200));
/// assert!(!kafka.broker(1).is_up());
/// assert_ne!(kafka.leader_of("orders", 0).broker(), Some(1), "another one leads");
/// kafka.heal();
/// assert!(kafka.broker(1).is_up());
/// ```
#[derive(Clone, Debug)]
pub struct BrokerControl {
    shared: Shared,
    id: i32,
}

impl BrokerControl {
    pub(super) fn new(shared: Shared, id: i32) -> Self {
        Self { shared, id }
    }

    /// Breaks its connections; it takes no new ones. Other replicas lead what it led, if there are any.
    #[track_caller]
    pub fn stop(&self) {
        self.shared.check_open();
        self.shared.change(|state, now| state.topology.stop(now, self.id, None));
    }

    /// Stops it, and starts it again after this virtual time.
    #[track_caller]
    pub fn stop_for(&self, duration: Duration) {
        self.shared.check_open();
        self.shared.change(|state, now| state.topology.stop(now, self.id, Some(now + duration)));
    }

    /// Starts it again. It leads what has no leader.
    #[track_caller]
    pub fn start(&self) {
        self.shared.check_open();
        self.shared.change(|state, now| state.topology.start(now, self.id));
    }

    /// For this virtual time it reads nothing, as a process that is stopped by a signal. What is sent to it meanwhile waits, also
    /// what its client has given up on and sent again.
    #[track_caller]
    pub fn pause(&self, duration: Duration) {
        self.shared.check_open();
        self.shared.change(|state, now| {
            if let Some(broker) = state.topology.broker(self.id) {
                broker.paused_until = Some(now + duration);
            }
            state.trace(now, What::Broker { broker: self.id, what: "pauses" });
        });
    }

    /// Sets its latency: how long a request or an answer is on its way. It is 1 ms at first.
    #[track_caller]
    pub fn slow(&self, latency: Duration) {
        self.shared.check_open();
        self.shared.change(|state, now| {
            if let Some(broker) = state.topology.broker(self.id) {
                broker.latency = latency;
            }
            state.trace(now, What::Broker { broker: self.id, what: "has another latency" });
        });
    }

    /// After each request of a producer it reads nothing more from it for this time, as a broker does with a producer above its
    /// quota. Zero ends it, and so does [`SimCluster::heal`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use aioproducer_driver::{AioProducer, Record};
    /// # use aioproducer_sim::{Sim, SimCluster};
    /// Sim::run(7, |sim| async move {
    ///     let kafka = SimCluster::new().with_topic("orders", 1);
    ///     kafka.broker(1).throttle(Duration::from_secs(1));
    ///     let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
    ///     for _ in 0..3 {
    ///         producer.send(Record::to("orders")).await.unwrap();
    ///     }
    ///     assert!(sim.elapsed() > Duration::from_secs(2));
    /// });
    /// ```
    pub fn throttle(&self, time: Duration) {
        self.shared.change(|state, now| {
            if let Some(broker) = state.topology.broker(self.id) {
                broker.throttle = time;
            }
            state.trace(now, What::Broker { broker: self.id, what: "has another quota" });
        });
    }

    /// Whether it runs; it does while it is paused.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.lock().topology.is_up(self.id)
    }
}

/// The leader of a partition of a [`SimCluster`]: [`SimCluster::leader_of`].
///
/// ```
/// # use aioproducer_sim::SimCluster;
/// let kafka = SimCluster::new().with_brokers(2).with_topic("orders", 1);
/// let leader = kafka.leader_of("orders", 0);
/// leader.move_to(2);
/// assert_eq!(leader.broker(), Some(2));
/// ```
#[derive(Clone, Debug)]
pub struct LeaderControl {
    cluster: SimCluster,
    topic: Arc<str>,
    partition: i32,
}

impl LeaderControl {
    pub(super) fn new(cluster: SimCluster, topic: &str, partition: i32) -> Self {
        Self { cluster, topic: Arc::from(topic), partition }
    }

    /// Lets another broker lead. The old one answers requests with `NotLeaderForPartition`.
    ///
    /// # Panics
    /// If there is no such broker, or it is stopped.
    #[track_caller]
    pub fn move_to(&self, broker: i32) {
        self.cluster.check_broker(broker);
        assert!(self.cluster.broker(broker).is_up(), "broker {broker} is stopped and cannot lead: start it first");
        let shared = self.cluster.shared();
        shared.change(|state, now| state.topology.lead(now, &self.topic, self.partition, broker));
    }

    /// The id of the broker that leads; `None` if no replica is up.
    #[must_use]
    pub fn broker(&self) -> Option<i32> {
        self.cluster.shared().lock().topology.partition(&self.topic, self.partition)?.leader
    }
}

/// A topic of a [`SimCluster`], as a consumer sees it: [`SimCluster::topic`].
///
/// ```
/// # use aioproducer_sim::SimCluster;
/// let kafka = SimCluster::new().with_topic("orders", 3);
/// assert_eq!(kafka.topic("orders").partitions(), 3);
/// assert!(kafka.topic("orders").records().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct TopicView {
    shared: Shared,
    name: Arc<str>,
}

impl TopicView {
    pub(super) fn new(shared: Shared, name: &str) -> Self {
        Self { shared, name: Arc::from(name) }
    }

    /// Copies of all its records: those of partition 0 in the order of their offsets, then those of partition 1, and so on. Records of
    /// open and of aborted transactions are there, as for a consumer with `isolation.level=read_uncommitted`.
    #[must_use]
    pub fn records(&self) -> Vec<LogRecord> {
        self.read(|log| log.records().cloned().collect())
    }

    /// The same for a consumer with `isolation.level=read_committed`: no record of an aborted transaction, and in each partition
    /// nothing from the first record of an open one on.
    ///
    /// ```
    /// use aioproducer_driver::{AioProducer, Record};
    /// use aioproducer_sim::{Sim, SimCluster};
    ///
    /// Sim::run(7, |sim| async move {
    ///     let kafka = SimCluster::new().with_topic("ledger", 1);
    ///     let producer = AioProducer::builder(kafka.backend().transactional_id("bank")).start(sim).unwrap();
    ///     let transaction = producer.begin().await.unwrap();
    ///     transaction.send(Record::to("ledger").payload("-5")).await.unwrap();
    ///     transaction.abort().await.unwrap();
    ///     let ledger = kafka.topic("ledger");
    ///     assert_eq!((ledger.records().len(), ledger.committed().len()), (1, 0));
    /// });
    /// ```
    #[must_use]
    pub fn committed(&self) -> Vec<LogRecord> {
        self.read(|log| log.committed().cloned().collect())
    }

    fn read(&self, read: impl Fn(&PartitionLog) -> Vec<LogRecord>) -> Vec<LogRecord> {
        let state = self.shared.lock();
        let partitions = state.topology.topics.get(&self.name).map_or(&[][..], |topic| &topic.partitions);
        partitions.iter().flat_map(|partition| read(&partition.log)).collect()
    }

    /// The number of its partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.shared.lock().topology.topics.get(&self.name).map_or(0, |topic| topic.partitions.len())
    }
}

/// A consumer group of a [`SimCluster`], with the offsets that transactions have committed: [`SimCluster::group`].
///
/// ```
/// use aioproducer_driver::AioProducer;
/// use aioproducer_driver::transaction::{Group, GroupOffset};
/// use aioproducer_sim::{Sim, SimCluster};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new().with_topic("orders", 1);
///     let producer = AioProducer::builder(kafka.backend().transactional_id("bills")).start(sim).unwrap();
///     let transaction = producer.begin().await.unwrap();
///     transaction.send_offsets([GroupOffset::new("orders", 0, 42)], Group::new("billing")).await.unwrap();
///     assert_eq!(kafka.group("billing").offset("orders", 0), None);
///     transaction.commit().await.unwrap();
///     assert_eq!(kafka.group("billing").offset("orders", 0), Some(42));
/// });
/// ```
#[derive(Clone, Debug)]
pub struct GroupView {
    cluster: SimCluster,
    id: Arc<str>,
}

impl GroupView {
    pub(super) fn new(cluster: SimCluster, id: &str) -> Self {
        Self { cluster, id: Arc::from(id) }
    }

    /// The offset of the next record to read, as the group has committed it; `None` if it has not.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    #[must_use]
    #[track_caller]
    pub fn offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.cluster.check_partition(topic, partition);
        self.cluster.shared().lock().coordinator.offset(&self.id, topic, partition)
    }
}
