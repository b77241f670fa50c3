//! The cluster of a test.

use std::fmt;
use std::thread;
use std::time::Duration;

use aioproducer_core::Instant;

use super::control::{BrokerControl, GroupView, LeaderControl, TopicView};
use super::faults::{On, Requests};
use super::held::Hold;
use crate::client::SimBackend;
use crate::cluster::{Scope, Shared, Swarm, Trace};
use crate::log::LogRecord;
use crate::sync::Arc;

/// A Kafka cluster in a test's own process: no thread, no socket, no real time.
///
/// It begins with one broker, with the id 1, whose latency is a millisecond each way. Clones are the same cluster. When the last
/// clone is dropped, a scripted fault that was not hit fails the test ([`verify`](Self::verify)).
///
/// ```
/// use aioproducer_driver::{AioProducer, Record};
/// use aioproducer_sim::{Sim, SimCluster};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new().with_topic("orders", 3);
///     let producer = AioProducer::builder(kafka.backend()).start(sim).unwrap();
///     producer.send(Record::to("orders").key("1001").payload("two apples")).await.unwrap();
///     assert_eq!(kafka.topic("orders").records()[0].key(), Some(&b"1001"[..]));
/// });
/// ```
#[derive(Clone)]
pub struct SimCluster {
    shared: Shared,
    verifier: Arc<Verifier>,
}

/// Looks for faults that were not hit when the last handle goes.
struct Verifier(Shared);

impl Verifier {
    fn unhit(&self) -> Option<String> {
        self.0.lock().rules.unhit()
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        if thread::panicking() {
            return;
        }
        if let Some(unhit) = self.unhit() {
            panic!("{unhit}");
        }
    }
}

impl Default for SimCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl SimCluster {
    /// A cluster of one broker, without topics.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared::new();
        Self { verifier: Arc::new(Verifier(shared.clone())), shared }
    }

    /// The same with a topic more. Its partitions have their leaders on the brokers in turn, and up to 3 replicas.
    ///
    /// # Panics
    /// If there is such a topic, or `partitions` is 0.
    #[must_use]
    #[track_caller]
    pub fn with_topic(self, name: &str, partitions: usize) -> Self {
        assert!(partitions > 0, "the topic `{name}` needs at least 1 partition");
        let is_new = self.shared.change(|state, now| {
            let is_new = !state.topology.topics.contains_key(name);
            if is_new {
                state.topology.add_partitions(now, name, partitions);
            }
            is_new
        });
        assert!(is_new, "there is a topic `{name}` already; `grow` adds partitions to it");
        self
    }

    /// The same with this number of brokers, whose ids are 1, 2 and so on. It comes before the topics.
    ///
    /// # Panics
    /// If it is 0 or less than there are, or if there is a topic already.
    #[must_use]
    #[track_caller]
    pub fn with_brokers(self, count: usize) -> Self {
        let (topics, brokers) = self.shared.change(|state, _| {
            let found = (state.topology.topics.len(), state.topology.brokers.len());
            if found.0 == 0 {
                (found.1..count).for_each(|_| state.topology.add_broker());
            }
            found
        });
        assert!(
            topics == 0,
            "with_brokers comes before with_topic: topics have their replicas on the brokers that there are"
        );
        assert!(count >= brokers, "{count} brokers are fewer than there are, {brokers}");
        self
    }

    /// The same with `min.insync.replicas`, 1 by default, for all topics: with fewer of a partition's brokers up, a request
    /// with `acks=all` is answered with `NotEnoughReplicas`. A partition with fewer replicas needs all of them.
    #[must_use]
    pub fn with_min_in_sync(self, replicas: usize) -> Self {
        self.shared.change(|state, _| state.topology.min_in_sync = replicas);
        self
    }

    /// The same with `message.max.bytes` of the brokers, 1,048,588 by default: a larger batch is answered with `MsgSizeTooLarge`.
    #[must_use]
    pub fn with_batch_bytes(self, bytes: usize) -> Self {
        self.shared.change(|state, _| state.topology.batch_bytes = bytes);
        self
    }

    /// The same with this time until followers have what a leader has appended, 5 ms by default. With `acks=all` a batch is answered
    /// when they have it, which takes no time here. With fewer acks a leader that stops or moves earlier takes it along: it is lost,
    /// though it was acknowledged.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use aioproducer_driver::{AioProducer, Record};
    /// use aioproducer_sim::{Acks, Sim, SimCluster};
    ///
    /// Sim::run(7, |sim| async move {
    ///     let kafka = SimCluster::new().with_brokers(2).with_replication_lag(Duration::from_secs(1)).with_topic("metrics", 1);
    ///     let producer = AioProducer::builder(kafka.backend().acks(Acks::Leader)).start(sim).unwrap();
    ///     let report = producer.send(Record::to("metrics")).await.unwrap();
    ///     kafka.broker(1).stop();
    ///     assert_eq!((report.offset(), kafka.topic("metrics").records().len()), (Some(0), 0), "acknowledged and lost");
    /// });
    /// ```
    #[must_use]
    pub fn with_replication_lag(self, lag: Duration) -> Self {
        self.shared.change(|state, _| state.topology.replication_lag = lag);
        self
    }

    /// A backend for one producer: `AioProducer::builder(cluster.backend())`.
    #[must_use]
    pub fn backend(&self) -> SimBackend {
        SimBackend::new(self.shared.clone())
    }

    /// A topic, to read it.
    ///
    /// # Panics
    /// If there is no such topic.
    #[track_caller]
    pub fn topic(&self, name: &str) -> TopicView {
        self.check_topic(name);
        TopicView::new(self.shared.clone(), name)
    }

    /// A consumer group, to read the offsets that transactions have committed for it. Any id is one.
    #[must_use]
    pub fn group(&self, id: &str) -> GroupView {
        GroupView::new(self.clone(), id)
    }

    /// Adds partitions to a topic, up to `partitions`. Producers learn of them as those of librdkafka do: after an error, or when
    /// what they know of the topic is 5 minutes old.
    ///
    /// # Panics
    /// If there is no such topic, or it has more partitions.
    #[track_caller]
    pub fn grow(&self, name: &str, partitions: usize) {
        self.check_topic(name);
        let before = self.topic(name).partitions();
        assert!(before <= partitions, "the topic `{name}` has {before} partitions, and Kafka never removes one");
        self.shared.change(|state, now| state.topology.add_partitions(now, name, partitions));
    }

    /// A broker, to stop, pause or slow it.
    ///
    /// # Panics
    /// If there is no broker with that id.
    #[track_caller]
    pub fn broker(&self, id: i32) -> BrokerControl {
        self.check_broker(id);
        BrokerControl::new(self.shared.clone(), id)
    }

    /// The leader of a partition, to move it.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    #[track_caller]
    pub fn leader_of(&self, topic: &str, partition: i32) -> LeaderControl {
        self.check_partition(topic, partition);
        LeaderControl::new(self.clone(), topic, partition)
    }

    /// Holds the records of a topic, those of all its partitions and producers, until the test decides about each.
    ///
    /// # Panics
    /// If there is no such topic.
    #[track_caller]
    pub fn hold(&self, topic: &str) -> Hold {
        self.check_topic(topic);
        Hold::new(self.shared.clone(), topic)
    }

    /// Defines a fault for requests: [`Produce`](crate::Produce) is all that have records, [`EndTxn`](crate::EndTxn) and others are
    /// those of transactions.
    ///
    /// ```
    /// use aioproducer_driver::{AioProducer, Record, error::ErrorCode};
    /// use aioproducer_sim::{Produce, Sim, SimCluster};
    ///
    /// Sim::run(7, |sim| async move {
    ///     let kafka = SimCluster::new().with_topic("orders", 1);
    ///     let fault = kafka.on(Produce.to("orders").partition(0)).times(2).answer(ErrorCode::NotLeaderForPartition);
    ///     let producer = AioProducer::builder(kafka.backend()).start(sim).unwrap();
    ///     producer.send(Record::to("orders").payload("two apples")).await.unwrap();
    ///     assert_eq!(fault.hits(), 2);
    /// });
    /// ```
    ///
    /// # Panics
    /// If it names a topic or partition that does not exist.
    #[track_caller]
    pub fn on(&self, requests: impl Into<Requests>) -> On {
        let scope = requests.into().into_scope();
        if let Scope::Produce { topic: Some(topic), partition } = &scope {
            self.check_topic(topic);
            if let Some(partition) = partition {
                self.check_partition(topic, *partition);
            }
        }
        On::new(self.shared.clone(), scope)
    }

    /// Brings all brokers back with their first latency, and ends pauses and the faults that a seed draws. Scripted faults and holds
    /// remain.
    pub fn heal(&self) {
        self.shared.change(|state, now| {
            state.swarm = None;
            state.topology.heal(now);
        });
    }

    /// Checks now what is checked when the last handle is dropped: each scripted fault was hit, and as often as it says.
    ///
    /// # Panics
    /// If one was not. The message has the place of its definition.
    #[track_caller]
    pub fn verify(&self) {
        if let Some(unhit) = self.verifier.unhit() {
            panic!("{unhit}");
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.shared.lock().topology.trace.clone()
    }

    /// The cluster's time: how long ago its first producer started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.now().since_origin()
    }

    /// Lets the faults of a seed loose until `end`.
    pub(crate) fn release(&self, swarm: Swarm, end: Duration) {
        self.shared.lock().swarm = Some((swarm, Instant::after_origin(end)));
    }

    /// Ends the cluster. Returns the scripted faults that were not hit; they are forgotten, so that the last handle's drop does not
    /// find them.
    pub(crate) fn end(&self) -> Option<String> {
        let unhit = self.verifier.unhit();
        let mut state = self.shared.lock();
        state.rules.clear();
        state.has_ended = true;
        unhit
    }

    /// All records of all topics that are not aborted, with their topics.
    pub(crate) fn logs(&self) -> Vec<(Arc<str>, LogRecord)> {
        let state = self.shared.lock();
        let partitions =
            state.topology.topics.values().flat_map(|topic| topic.partitions.iter().map(move |found| (topic, found)));
        let records = partitions.flat_map(|(topic, found)| found.log.kept().map(|record| (&topic.name, record)));
        records.map(|(name, record)| (Arc::clone(name), record.clone())).collect()
    }

    /// All partitions of all topics.
    pub(crate) fn partitions(&self) -> Vec<(Arc<str>, i32)> {
        let state = self.shared.lock();
        let numbers = |count| 0..count as i32;
        let topics = state.topology.topics.values();
        topics
            .flat_map(|topic| numbers(topic.partitions.len()).map(|number| (Arc::clone(&topic.name), number)))
            .collect()
    }

    /// The number of brokers.
    pub(crate) fn brokers(&self) -> usize {
        self.shared.lock().topology.brokers.len()
    }

    #[track_caller]
    fn check_topic(&self, name: &str) {
        let known = {
            let state = self.shared.lock();
            if state.topology.topics.contains_key(name) {
                return;
            }
            state.topology.topics.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>()
        };
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        panic!("the simulated cluster has no topic `{name}`: {known}; with_topic declares one");
    }

    #[track_caller]
    pub(super) fn check_partition(&self, topic: &str, partition: i32) {
        let count = self.topic(topic).partitions();
        let is_known = usize::try_from(partition).is_ok_and(|partition| partition < count);
        assert!(is_known, "the topic `{topic}` has no partition {partition}: it has {count}, from 0 on");
    }

    #[track_caller]
    pub(super) fn check_broker(&self, id: i32) {
        let count = self.shared.lock().topology.brokers.len();
        let is_known = usize::try_from(id).is_ok_and(|id| (1..=count).contains(&id));
        assert!(
            is_known,
            "the simulated cluster has no broker {id}: it has {count}, from 1 on; with_brokers adds some"
        );
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        let topics: Vec<_> = state.topology.topics.keys().collect();
        f.debug_struct("SimCluster").field("topics", &topics).finish_non_exhaustive()
    }
}
