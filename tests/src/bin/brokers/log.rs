//! Reading the log back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aioproducer_tests::broker::config_for;
use aioproducer_tests::history::Written;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::Failure;

/// How long nothing may be read.
const LIMIT: Duration = Duration::from_secs(60);

/// All records of a topic, in the order of their offsets, partition by partition.
pub(crate) fn read(servers: &str, topic: &str, partitions: i32) -> Result<Vec<Written>, Failure> {
    let mut config = config_for(servers);
    config.set("group.id", "reader").set("enable.partition.eof", "true").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut open: BTreeSet<i32> = (0..partitions).collect();
    let mut log = Vec::new();
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
                log.push(Written { partition: message.partition(), offset: message.offset(), number });
            }
        }
        last = Instant::now();
    }
    log.sort_by_key(|written| (written.partition, written.offset));
    Ok(log)
}
