//! The records of an embedded broker, read from its log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::embedded::error::BrokerError;

/// The longest time for reading a log.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between two requests for offsets.
const PAUSE: Duration = Duration::from_millis(20);

/// A record in an embedded broker's log, from [`EmbeddedBroker::records`](crate::EmbeddedBroker::records).
///
/// `Debug` shows printable bytes as text.
///
/// ```
/// # use aioproducer_rdkafka::ReceivedRecord;
/// fn is_order(record: &ReceivedRecord) -> bool {
///     record.headers.iter().any(|(name, value)| name == "type" && value.as_deref() == Some(b"order"))
/// }
/// # let _ = is_order;
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedRecord {
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key; `None` if it is null. An empty key is not null.
    pub key: Option<Vec<u8>>,
    /// The payload, Kafka's value; `None` if it is null. An empty payload is not null.
    pub payload: Option<Vec<u8>>,
    /// The headers in order; a value is `None` if it is null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The timestamp in milliseconds since the Unix epoch.
    pub timestamp_millis: Option<i64>,
}

impl ReceivedRecord {
    /// The key as text; `None` if it is null or not UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }

    /// The payload as text; `None` if it is null or not UTF-8.
    #[must_use]
    pub fn payload_str(&self) -> Option<&str> {
        std::str::from_utf8(self.payload.as_deref()?).ok()
    }

    fn new(message: &impl Message) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
            timestamp_millis: message.timestamp().to_millis(),
        }
    }
}

/// Bytes as a Rust literal.
struct Literal<'a>(Option<&'a [u8]>);

impl fmt::Debug for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            None => f.write_str("null"),
        }
    }
}

impl fmt::Debug for ReceivedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name, Literal(value.as_deref()))).collect();
        f.debug_struct("ReceivedRecord")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("key", &Literal(self.key.as_deref()))
            .field("payload", &Literal(self.payload.as_deref()))
            .field("headers", &headers)
            .field("timestamp_millis", &self.timestamp_millis)
            .finish()
    }
}

/// The log of a topic.
pub(super) struct Log {
    pub(super) servers: String,
    pub(super) topic: String,
    /// The number of brokers. Their ids count from 1.
    pub(super) brokers: i32,
    /// The brokers that are down.
    pub(super) down: BTreeSet<i32>,
}

impl Log {
    /// Reads all records, partition by partition, each in the order of its log. Blocks.
    pub(super) fn read(&self) -> Result<Vec<ReceivedRecord>, BrokerError> {
        self.read_all()
            .map_err(|reason| BrokerError(format!("cannot read the records of topic `{}`: {reason}", self.topic)))
    }

    fn read_all(&self) -> Result<Vec<ReceivedRecord>, String> {
        if (1..=self.brokers).all(|broker| self.down.contains(&broker)) {
            return Err("every broker is down; call broker_up first".into());
        }
        let until = Instant::now() + LIMIT;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers).set("group.id", "aioproducer-records");
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest").set("isolation.level", "read_uncommitted");
        // A request for an empty partition is answered at once.
        config.set("fetch.wait.max.ms", "10").set("fetch.error.backoff.ms", "20");
        let consumer: BaseConsumer = config.create().map_err(|error| error.to_string())?;

        // A request for the topic by name would create it.
        let metadata = consumer.fetch_metadata(None, left(until)).map_err(|error| timed_out(&error.to_string()))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == self.topic) else {
            let names: Vec<_> = metadata.topics().iter().map(MetadataTopic::name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
            return Err(format!("the topic does not exist; existing topics: {names}"));
        };
        let partitions = self.partitions(topic)?;
        let ends = self.offsets(&consumer, &partitions, Offset::End, until)?;
        let starts = self.offsets(&consumer, &partitions, Offset::Beginning, until)?;
        let ranges = starts.into_iter().zip(ends).map(|((partition, start), (_, end))| (partition, start..end));
        self.records(&consumer, ranges.filter(|(_, range)| !range.is_empty()).collect(), until)
    }

    /// The partitions of `topic`. An error if one of them cannot be read.
    fn partitions(&self, topic: &MetadataTopic) -> Result<Vec<i32>, String> {
        if let Some(error) = topic.error() {
            let error = rdkafka::types::RDKafkaErrorCode::from(error);
            return Err(format!("the broker answers {error}; call topic_error with NO_ERROR first"));
        }
        for partition in topic.partitions() {
            let (id, leader) = (partition.id(), partition.leader());
            if self.down.contains(&leader) {
                return Err(format!("broker {leader}, the leader of partition {id}, is down; call broker_up first"));
            }
            if leader < 0 {
                return Err(format!("partition {id} has no leader; call partition_leader first"));
            }
        }
        Ok(topic.partitions().iter().map(|partition| partition.id()).collect())
    }

    /// The first or the next offset of each partition.
    fn offsets(
        &self,
        consumer: &BaseConsumer,
        partitions: &[i32],
        which: Offset,
        until: Instant,
    ) -> Result<BTreeMap<i32, i64>, String> {
        let mut found = BTreeMap::new();
        loop {
            let mut wanted = TopicPartitionList::new();
            for &partition in partitions.iter().filter(|partition| !found.contains_key(*partition)) {
                wanted.add_partition_offset(&self.topic, partition, which).map_err(|error| error.to_string())?;
            }
            let mut trouble = String::new();
            // First and next offset can be queried as times, with one request per leader.
            match consumer.offsets_for_times(wanted, left(until)) {
                Ok(answers) => {
                    for answer in answers.elements() {
                        match (answer.error(), answer.offset()) {
                            (Ok(()), Offset::Offset(offset)) => drop(found.insert(answer.partition(), offset)),
                            (outcome, offset) => trouble = format!("{outcome:?}, {offset:?}"),
                        }
                    }
                }
                Err(error) => trouble = error.to_string(),
            }
            if found.len() == partitions.len() {
                return Ok(found);
            }
            if left(until).is_zero() {
                return Err(timed_out(&trouble));
            }
            // A leader may have moved. No partition is assigned, so this only lets the client work.
            drop(consumer.poll(PAUSE));
        }
    }

    fn records(
        &self,
        consumer: &BaseConsumer,
        mut unread: BTreeMap<i32, Range<i64>>,
        until: Instant,
    ) -> Result<Vec<ReceivedRecord>, String> {
        let mut assignment = TopicPartitionList::new();
        for (&partition, range) in &unread {
            let start = Offset::Offset(range.start);
            assignment.add_partition_offset(&self.topic, partition, start).map_err(|error| error.to_string())?;
        }
        consumer.assign(&assignment).map_err(|error| error.to_string())?;
        let (mut records, mut trouble) = (Vec::new(), String::new());
        while !unread.is_empty() {
            if left(until).is_zero() {
                return Err(timed_out(&format!("{trouble}; {} records were read, missing: {unread:?}", records.len())));
            }
            match consumer.poll(left(until).min(Duration::from_millis(100))) {
                None => {}
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    if let Some(range) = unread.get(&partition)
                        && offset < range.end
                    {
                        records.push(ReceivedRecord::new(&message));
                        if offset + 1 == range.end {
                            unread.remove(&partition);
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
                // The consumer repeats its requests.
                Some(Err(error)) => trouble = error.to_string(),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn timed_out(trouble: &str) -> String {
    let trouble = if trouble.is_empty() { "no answer" } else { trouble };
    format!("timed out after {} s: {trouble}", LIMIT.as_secs())
}
