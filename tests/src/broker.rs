//! The embedded broker, addresses without a broker, and reading a log back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use aioproducer_driver::AioProducer;
use aioproducer_driver::error::StartError;
use aioproducer_rdkafka::{ClientConfig, ConfigError, EmbeddedBroker, Librdkafka, ReceivedRecord};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::executor::Host;

/// Reading a log takes far less.
const READ_LIMIT: Duration = Duration::from_secs(50);

/// One record of a topic's log, as a consumer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl From<ReceivedRecord> for Logged {
    fn from(record: ReceivedRecord) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            key: record.key,
            payload: record.payload,
            timestamp: record.timestamp_millis,
            headers: record.headers,
        }
    }
}

impl Logged {
    /// The payload as text.
    ///
    /// # Panics
    /// When it is not text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.payload.as_deref().unwrap_or_default()).expect("a payload of text")
    }
}

/// Starts a broker.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn start() -> EmbeddedBroker {
    EmbeddedBroker::start().expect("a broker")
}

/// Starts a broker with one topic.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn start_with_topic(name: &str, partitions: i32) -> EmbeddedBroker {
    let broker = start();
    broker.create_topic(name, partitions, 1).expect("a topic");
    broker
}

/// A configuration that names `broker` and nothing else.
#[must_use]
pub fn config(broker: &EmbeddedBroker) -> ClientConfig {
    config_for(broker.bootstrap_servers())
}

/// A configuration that names servers and nothing else.
#[must_use]
pub fn config_for(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

/// A backend on `broker`.
#[must_use]
pub fn backend(broker: &EmbeddedBroker) -> Librdkafka {
    Librdkafka::new(config(broker))
}

/// Starts a producer that compresses with `codec`; `None` if the codec is not in this build, which the error must name.
///
/// # Panics
/// When it does not start for another reason.
#[must_use]
pub fn with_codec(host: &Host, mut config: ClientConfig, codec: &str) -> Option<AioProducer> {
    config.set("compression.type", codec).set("linger.ms", "20");
    match AioProducer::builder(Librdkafka::new(config)).start(host.runtime()) {
        Ok(producer) => Some(producer),
        Err(StartError::Backend(ConfigError::MissingFeature { key, .. })) => {
            assert!(key.starts_with("compression."), "{key}");
            None
        }
        Err(error) => panic!("{codec}: {error}"),
    }
}

/// A backend whose broker refuses every connection.
#[must_use]
pub fn unreachable() -> Librdkafka {
    Librdkafka::new(config_for(&closed_port()))
}

/// An address that refuses connections, and that no other test of this process has.
///
/// # Panics
/// When there is no loopback network.
#[must_use]
pub fn closed_port() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A port without a listener, a different one for each call. It is outside of the range from which systems take ports for
/// outgoing connections, so it stays free while a broker is down.
///
/// # Panics
/// When there is no loopback network, or all ports have a listener.
#[must_use]
pub fn free_port() -> u16 {
    const FROM: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = (process::id() % u32::from(COUNT / 50)) as u16 * 50;
    let mut ports = std::iter::repeat_with(|| FROM + (first + TRIED.fetch_add(1, Ordering::Relaxed)) % COUNT);
    let free = ports.by_ref().take(COUNT.into()).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.expect("a free port")
}

/// Which records a consumer sees (`isolation.level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions, and records outside of transactions.
    Committed,
    /// All records.
    Uncommitted,
}

/// All records of `topic` on an embedded broker, partition by partition, each in log order and without gaps.
///
/// # Panics
/// When the log cannot be read.
#[must_use]
pub fn read_back(broker: &EmbeddedBroker, topic: &str, partitions: i32) -> Vec<Logged> {
    let records = smol::future::block_on(broker.records(topic)).expect("its records");
    let log: Vec<_> = records.into_iter().map(Logged::from).collect();
    assert!(log.iter().all(|logged| (0..partitions).contains(&logged.partition)), "{topic} has more partitions");
    assert_no_gaps(&log);
    log
}

/// The records of `topic` that a consumer sees, partition by partition, each in log order.
///
/// # Panics
/// When the log cannot be read.
#[must_use]
pub fn read_log(servers: &str, topic: &str, partitions: i32, isolation: Isolation) -> Vec<Logged> {
    let level = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let mut config = config_for(servers);
    config.set("group.id", "reader").set("enable.partition.eof", "true").set("enable.auto.commit", "false");
    config.set("isolation.level", level);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut open: BTreeSet<i32> = (0..partitions).collect();
    let mut log = Vec::new();
    let (start, mut trouble) = (Instant::now(), None);
    while !open.is_empty() {
        assert!(start.elapsed() < READ_LIMIT, "{topic}, partitions {open:?}: not read in {READ_LIMIT:?}; {trouble:?}");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            // Connections may still be coming back after a broker was down.
            Some(Err(error @ KafkaError::MessageConsumption(_))) => trouble = Some(error),
            Some(Err(error)) => panic!("{topic} cannot be read: {error}"),
            Some(Ok(message)) => log.push(Logged {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                payload: message.payload().map(<[u8]>::to_vec),
                timestamp: message.timestamp().to_millis(),
                headers: message.headers().into_iter().flat_map(|headers| headers.iter()).map(header).collect(),
            }),
        }
    }
    log.sort_by_key(|logged| (logged.partition, logged.offset));
    log
}

/// Each partition's offsets count from 0. Transactions leave gaps: their markers have offsets, too.
///
/// # Panics
/// When there is a gap, or an offset twice.
pub fn assert_no_gaps(log: &[Logged]) {
    let mut next = BTreeMap::new();
    for logged in log {
        let expected: &mut i64 = next.entry(logged.partition).or_default();
        assert_eq!(logged.offset, *expected, "partition {}: an offset was not read", logged.partition);
        *expected += 1;
    }
}

fn header(header: rdkafka::message::Header<'_, &[u8]>) -> (String, Option<Vec<u8>>) {
    (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
}
