//! Where the text goes, and a plain consumer that reads it there.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU16;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::text::Text;
use crate::aio::{ClientConfig, EmbeddedBroker};

/// How long the broker may stay silent.
const WAIT_LIMIT: Duration = Duration::from_secs(15);

/// What the embedded broker keeps of a partition, with room to spare: it drops the oldest above 5 MiB.
const PARTITION_BYTES: usize = 4 << 20;

/// A line may travel alone, and the embedded broker keeps 100,000 batches of a partition.
const PARTITION_LINES: usize = 100_000;

/// The most that a batch of one record adds to it.
const OVERHEAD: usize = 96;

/// A topic of a broker.
pub(crate) struct Place {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    /// The end of each partition before anything was sent.
    pub(crate) starts: Vec<i64>,
    /// The broker if it is embedded; it ends with this.
    broker: Option<EmbeddedBroker>,
}

/// A record as the consumer sees it.
pub(crate) struct Found<'a> {
    pub(crate) partition: usize,
    pub(crate) offset: i64,
    pub(crate) payload: Option<&'a [u8]>,
}

impl Place {
    /// Finds the broker, or starts one, and the topic, or creates it.
    pub(crate) fn prepare(topic: Option<String>, partitions: Option<NonZeroU16>, text: &Text) -> anyhow::Result<Self> {
        let topic =
            topic.unwrap_or_else(|| format!("quickstart-{:08x}", RandomState::new().build_hasher().finish() as u32));
        let partitions = partitions.map(|count| usize::from(count.get()));
        let (bootstrap, broker) = EmbeddedBroker::bootstrap()?;
        if let Some(broker) = &broker {
            let partitions = embedded_partitions(partitions, text)?;
            broker.create_topic(&topic, i32::try_from(partitions)?, 1)?;
        }
        let mut place = Self { bootstrap, topic, starts: Vec::new(), broker };
        if place.broker.is_none() {
            place.create(partitions.unwrap_or(4))?;
        }
        let consumer = place.consumer()?;
        let count = place.ready(&consumer)?;
        place.starts = (0..count).map(|n| Ok(place.watermarks(&consumer, n)?.end)).collect::<anyhow::Result<_>>()?;
        Ok(place)
    }

    /// The partition of a line.
    pub(crate) fn partition(&self, line: usize) -> i32 {
        (line % self.starts.len()) as i32
    }

    /// What every client of the broker needs to know.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Shows every record that came after the start, and says which offsets these are.
    pub(crate) fn read(&self, mut show: impl FnMut(Found<'_>)) -> anyhow::Result<Vec<Range<i64>>> {
        let consumer = self.consumer()?;
        let mut assignment = TopicPartitionList::new();
        let mut ranges = Vec::new();
        for (partition, &start) in self.starts.iter().enumerate() {
            let kept = self.watermarks(&consumer, partition)?;
            if kept.start > start {
                bail!("partition {partition}: the broker dropped the offsets {start}..{}", kept.start);
            }
            if kept.end > start {
                assignment.add_partition_offset(&self.topic, partition as i32, Offset::Offset(start))?;
            }
            ranges.push(start..kept.end);
        }
        consumer.assign(&assignment)?;

        let total: i64 = ranges.iter().map(|range| range.end - range.start).sum();
        let bar = super::progress_bar("reading", total as usize);
        let mut unread: Vec<bool> = ranges.iter().map(|range| !range.is_empty()).collect();
        let mut last_error = None;
        while unread.contains(&true) {
            match consumer.poll(WAIT_LIMIT) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition() as usize, message.offset());
                    let end = ranges[partition].end;
                    if offset < end {
                        show(Found { partition, offset, payload: message.payload() });
                        bar.inc(1);
                    }
                    unread[partition] &= offset + 1 < end;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => unread[partition as usize] = false,
                // The consumer tries again by itself.
                Some(Err(error)) => last_error = Some(error),
                None => {
                    let error = last_error.map_or_else(String::new, |error| format!("; the last error: {error}"));
                    let (position, seconds) = (bar.position(), WAIT_LIMIT.as_secs());
                    bail!("no record came for {seconds} s after {position} of {total}{error}");
                }
            }
        }
        bar.finish();
        Ok(ranges)
    }

    fn consumer(&self) -> anyhow::Result<BaseConsumer> {
        let mut config = self.config();
        config.set("group.id", "quickstart").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        Ok(config.create()?)
    }

    /// Where a partition's log begins and ends. A broker that becomes its leader needs a moment until it answers.
    fn watermarks(&self, consumer: &BaseConsumer, partition: usize) -> anyhow::Result<Range<i64>> {
        let begin = Instant::now();
        loop {
            let error = match consumer.fetch_watermarks(&self.topic, partition as i32, WAIT_LIMIT) {
                Ok((low, high)) => return Ok(low..high),
                Err(error) => error,
            };
            if begin.elapsed() >= WAIT_LIMIT || !error.rdkafka_error_code().is_some_and(is_young) {
                return Err(error).with_context(|| format!("offsets of partition {partition}"));
            }
            drop(consumer.poll(Duration::from_millis(50)));
        }
    }

    /// The partitions of the topic if it exists, with their leaders; -1 stands for none.
    fn leaders(&self, consumer: &BaseConsumer) -> anyhow::Result<Option<Vec<i32>>> {
        let metadata =
            consumer.fetch_metadata(Some(&self.topic), WAIT_LIMIT).with_context(|| self.bootstrap.clone())?;
        let topic = metadata.topics().iter().find(|topic| topic.error().is_none());
        Ok(topic.map(|topic| topic.partitions().iter().map(|partition| partition.leader()).collect()))
    }

    /// Creates the topic unless it exists.
    fn create(&self, partitions: usize) -> anyhow::Result<()> {
        if self.leaders(&self.consumer()?)?.is_some() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> = self.config().create()?;
        // As many copies as the broker makes by default.
        let topic = NewTopic::new(&self.topic, i32::try_from(partitions)?, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().request_timeout(Some(WAIT_LIMIT));
        let hint = || format!("topic {} could not be created; --topic names one that exists", self.topic);
        let created = futures_lite::future::block_on(admin.create_topics([&topic], &options)).with_context(hint)?;
        match created.into_iter().next() {
            Some(Err((_, code))) => Err(code).with_context(hint),
            _ => Ok(()),
        }
    }

    /// Waits until each partition has a leader, and says how many there are.
    fn ready(&self, consumer: &BaseConsumer) -> anyhow::Result<usize> {
        let begin = Instant::now();
        while begin.elapsed() < WAIT_LIMIT {
            match self.leaders(consumer)? {
                Some(leaders) if !leaders.is_empty() && !leaders.contains(&-1) => return Ok(leaders.len()),
                // A broker needs a moment for a new topic. Nothing is assigned, so this only keeps the client going.
                _ => drop(consumer.poll(Duration::from_millis(50))),
            }
        }
        bail!("topic {}: not all partitions have a leader", self.topic)
    }
}

/// Whether a broker may answer so of a partition that was just made.
fn is_young(error: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition, UnknownTopicOrPartition};

    matches!(error, LeaderNotAvailable | NotLeaderForPartition | UnknownTopicOrPartition)
}

/// How many partitions the embedded broker needs to keep the text.
fn embedded_partitions(wanted: Option<usize>, text: &Text) -> anyhow::Result<usize> {
    let fits = |count: usize| {
        let mut loads = vec![0; count];
        for (line, payload) in text.lines.iter().enumerate() {
            loads[line % count] += payload.len() + OVERHEAD;
        }
        text.lines.len().div_ceil(count) <= PARTITION_LINES && loads.iter().all(|&load| load <= PARTITION_BYTES)
    };
    match wanted {
        Some(count) if fits(count) => Ok(count),
        Some(count) => bail!("the embedded broker cannot keep this text in {count} partitions; give it more, or none"),
        None => Ok((2..=12).map(|power| 1 << power).find(|&count| fits(count)).unwrap_or(1 << 13)),
    }
}
