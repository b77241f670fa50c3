//! Reading the log back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aioproducer_history as history;
use aioproducer_tests::broker::config_for;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::Failure;
use crate::target::TOPIC;

/// How long nothing may be read.
const LIMIT: Duration = Duration::from_secs(60);

/// A record in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) number: u64,
}

/// What the load's topic has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// In the order of their offsets, partition by partition.
    pub(crate) records: Vec<Written>,
    /// The first offset of each partition: the embedded broker cuts off what is old.
    pub(crate) begins: Vec<(i32, i64)>,
}

impl From<Log> for history::Log {
    fn from(log: Log) -> Self {
        let mut all = Self::new();
        for Written { partition, offset, number } in log.records {
            all.push(TOPIC, partition, offset, history::LogEntry::record(number));
        }
        for (partition, offset) in log.begins {
            all.begins(TOPIC, partition, offset);
        }
        all
    }
}

/// All records of the load's topic.
pub(crate) fn read(servers: &str, partitions: i32) -> Result<Log, Failure> {
    let mut config = config_for(servers);
    config.set("group.id", "reader").set("enable.partition.eof", "true").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut open: BTreeSet<i32> = (0..partitions).collect();
    let mut records = Vec::new();
    let (mut last, mut trouble) = (Instant::now(), None);
    while !open.is_empty() {
        if last.elapsed() > LIMIT {
            return Err(format!("partitions {open:?} were not read: {trouble:?}").into());
        }
        match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            // Connections may still be coming back.
            Some(Err(error)) => {
                trouble = Some(error);
                continue;
            }
            Some(Ok(message)) => {
                let bytes = message.payload().and_then(<[u8]>::first_chunk::<8>).ok_or("a record without a number")?;
                let number = u64::from_be_bytes(*bytes);
                records.push(Written { partition: message.partition(), offset: message.offset(), number });
            }
        }
        last = Instant::now();
    }
    records.sort_by_key(|written| (written.partition, written.offset));
    let begin = |partition| Ok((partition, consumer.fetch_watermarks(TOPIC, partition, LIMIT)?.0));
    let begins = (0..partitions).map(begin).collect::<Result<_, KafkaError>>()?;
    Ok(Log { records, begins })
}
