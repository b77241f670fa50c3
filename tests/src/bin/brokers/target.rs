//! The cluster, its topics, and what hurts its brokers.

use std::time::Duration;

use aioproducer_rdkafka::{ClientConfig, EmbeddedBroker};
use aioproducer_tests::broker;
use aioproducer_tests::cluster::{BROKERS, Cluster};

use crate::Failure;
use crate::options::{ClusterKind, Options, Scenario};

pub(crate) const TOPIC: &str = "load";

pub(crate) const PROBE_TOPIC: &str = "probe";

pub(crate) const PARTITIONS: i32 = 6;

/// The round trip of the embedded cluster's broker that is paused. When it ends, the answers are sent.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

/// The broker that leads a partition while all are well.
pub(crate) fn leader(partition: i32) -> i32 {
    partition % BROKERS + 1
}

/// What a broker suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurt {
    /// It is paused.
    Stop,
    /// It is killed.
    Kill,
    /// It takes this long to answer.
    Slow(Duration),
    /// Nothing.
    Calm,
}

pub(crate) enum Target {
    Kafka(Cluster),
    Embedded(EmbeddedBroker),
}

impl Target {
    pub(crate) fn start(options: &Options) -> Result<Self, Failure> {
        let replicas = options.replicas;
        Ok(match options.cluster {
            ClusterKind::Kafka => {
                let is_slow = options.scenario == Scenario::Slow;
                let cluster = if is_slow { Cluster::start_with_wires() } else { Cluster::start() };
                let in_sync = if replicas >= 3 { "2" } else { "1" };
                for topic in [TOPIC, PROBE_TOPIC] {
                    cluster.create_topic(topic, PARTITIONS, replicas, &[("min.insync.replicas", in_sync)]);
                }
                Self::Kafka(cluster)
            }
            ClusterKind::Embedded => {
                let cluster = EmbeddedBroker::start_with(BROKERS)?;
                for topic in [TOPIC, PROBE_TOPIC] {
                    cluster.create_topic(topic, PARTITIONS, replicas)?;
                    for partition in 0..PARTITIONS {
                        cluster.partition_leader(topic, partition, Some(leader(partition)))?;
                    }
                }
                Self::Embedded(cluster)
            }
        })
    }

    /// Adds partitions to the load's topic until there are `count`.
    pub(crate) fn grow(&self, count: i32) {
        match self {
            Self::Kafka(cluster) => cluster.grow_topic(TOPIC, PARTITIONS, count),
            Self::Embedded(_) => unreachable!("the options refuse it"),
        }
    }

    pub(crate) fn servers(&self) -> String {
        match self {
            Self::Kafka(cluster) => cluster.bootstrap_servers().to_owned(),
            Self::Embedded(cluster) => cluster.bootstrap_servers().to_owned(),
        }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        broker::config_for(&self.servers())
    }

    pub(crate) fn hurt(&self, broker: i32, hurt: Hurt) -> Result<(), Failure> {
        match (self, hurt) {
            (_, Hurt::Calm) => {}
            (Self::Kafka(cluster), Hurt::Stop) => cluster.pause(broker),
            (Self::Kafka(cluster), Hurt::Kill) => cluster.kill(broker),
            (Self::Kafka(cluster), Hurt::Slow(delay)) => cluster.slow(broker, delay),
            (Self::Embedded(cluster), Hurt::Stop) => cluster.round_trip_time(broker, FOR_EVER)?,
            (Self::Embedded(cluster), Hurt::Kill) => cluster.broker_down(broker)?,
            (Self::Embedded(cluster), Hurt::Slow(delay)) => cluster.round_trip_time(broker, delay)?,
        }
        Ok(())
    }

    /// Ends what `hurt` began. A broker that was slow takes the time `calm` to answer.
    pub(crate) fn heal(&self, broker: i32, hurt: Hurt, calm: Duration) -> Result<(), Failure> {
        match (self, hurt) {
            (_, Hurt::Calm) => {}
            (Self::Kafka(cluster), Hurt::Stop) => cluster.resume(broker),
            (Self::Kafka(cluster), Hurt::Slow(_)) => cluster.slow(broker, calm),
            (Self::Kafka(cluster), _) => cluster.start_again(broker),
            (Self::Embedded(cluster), Hurt::Kill) => cluster.broker_up(broker)?,
            // Another time than none would wait for the end of this one.
            (Self::Embedded(cluster), Hurt::Stop) => cluster.round_trip_time(broker, Duration::ZERO)?,
            (Self::Embedded(cluster), Hurt::Slow(_)) => cluster.round_trip_time(broker, calm)?,
        }
        Ok(())
    }

    /// Whether each partition has its leader and its replicas, as both `broker` and another one say. Others do not know for some
    /// seconds that a broker is gone, and it does not know at once what happened meanwhile.
    pub(crate) fn is_whole(&self, broker: i32) -> bool {
        match self {
            Self::Kafka(cluster) => {
                let mut asked = [broker, broker % BROKERS + 1].into_iter().filter(|asked| *asked <= BROKERS);
                asked.all(|asked| cluster.is_whole(TOPIC, asked))
            }
            Self::Embedded(_) => true,
        }
    }
}
