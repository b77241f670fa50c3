//! Consume, transform, produce: the results and the offsets of what was read are committed in one transaction.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aioproducer_driver::error::EndError;
use aioproducer_driver::transaction::{GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{Librdkafka, consumer_group};
use aioproducer_tests::broker::Isolation;
use aioproducer_tests::executor::Host;
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};

use crate::transactions::{positions, producer, shown};

promises_on_kafka! {
    s40_what_is_read_transformed_and_written_is_there_once,
}

const LONG: Duration = Duration::from_secs(50);

/// A consumer whose offsets only transactions commit.
fn transformer(kafka: &Kafka, group: &str, topic: &str) -> BaseConsumer {
    let mut config = kafka.config();
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    consumer
}

/// Up to `count` messages, and at least one.
fn read(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let (mut batch, start) = (Vec::new(), Instant::now());
    while batch.len() < count {
        match consumer.poll(Duration::from_millis(50)) {
            Some(message) => batch.push(message.expect("a message").detach()),
            None if batch.is_empty() => assert!(start.elapsed() < LONG, "nothing to read in {LONG:?}"),
            None => break,
        }
    }
    batch
}

/// Makes the consumer read the batch again.
fn rewind(consumer: &BaseConsumer, batch: &[OwnedMessage]) {
    let mut list = TopicPartitionList::new();
    for message in batch.iter().rev() {
        let offset = Offset::Offset(message.offset());
        let partition = message.partition();
        match list.find_partition(message.topic(), partition) {
            Some(_) => list.set_partition_offset(message.topic(), partition, offset),
            None => list.add_partition_offset(message.topic(), partition, offset),
        }
        .expect("an offset");
    }
    for element in consumer.seek_partitions(list, LONG).expect("it goes back").elements() {
        element.error().expect("it goes back");
    }
}

/// One transaction: the batch's numbers once more, and the group's offsets.
async fn transform(
    producer: &AioProducer,
    consumer: &BaseConsumer,
    batch: &[OwnedMessage],
    sink: &str,
    ends: &str,
) -> Result<(), EndError> {
    let transaction = producer.begin().await.expect("it begins");
    let (mut next, mut deliveries) = (BTreeMap::new(), Vec::new());
    for message in batch {
        let record = Record::to(sink).payload(message.payload().expect("a number"));
        let delivery = transaction.produce(record).await.expect("accepted");
        next.insert(message.partition(), message.offset() + 1);
        deliveries.push(delivery);
    }
    let source = batch[0].topic();
    let offsets = next.into_iter().map(|(partition, offset)| GroupOffset::new(source, partition, offset));
    let mut group = consumer_group(consumer).expect("it has a group");
    if ends == "a lost place" {
        // These are in the log, and must not be seen.
        for delivery in deliveries {
            delivery.await.expect("delivered");
        }
        group.generation = group.generation.map(|generation| generation + 1);
        let error = transaction.send_offsets(offsets, group).await.expect_err("a generation that there is not");
        assert_eq!(error.remedy(), Remedy::Abort, "{error:?}");
        return transaction.commit().await;
    }
    transaction.send_offsets(offsets, group).await.expect("sent");
    match ends {
        "abort" => transaction.abort().await,
        "drop" => {
            drop(transaction);
            Ok(())
        }
        _ => transaction.commit().await,
    }
}

async fn s40_what_is_read_transformed_and_written_is_there_once(host: Host) {
    const COUNT: usize = 120;
    let kafka = Kafka::shared();
    let (source, sink) = (kafka.topic("lines", 2), kafka.topic("capitals", 2));
    let (group, id) = (kafka.fresh("transformers"), kafka.fresh("transform"));
    let plain = host.start(AioProducer::builder(Librdkafka::new(kafka.config())));
    let lines = (0..COUNT).map(|n| Record::to(&source).partition(n as i32 % 2).payload(n.to_string()));
    for outcome in plain.produce_all(lines).await {
        outcome.expect("delivered");
    }

    let producer = producer(&host, kafka, &id);
    let consumer = transformer(kafka, &group, &source);
    let (mut done, mut attempt) = (0, 0);
    while done < COUNT {
        let batch = read(&consumer, 10);
        attempt += 1;
        let ends = match attempt {
            2 => "abort",
            4 => "a lost place",
            6 => "drop",
            _ => "commit",
        };
        let ended = transform(&producer, &consumer, &batch, &sink, ends).await;
        if ends == "commit" {
            ended.expect("committed");
            done += batch.len();
        } else {
            assert_eq!(ended.is_err(), ends == "a lost place", "{ends}: {ended:?}");
            rewind(&consumer, &batch);
        }
    }
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(positions(kafka, &group, &source), [Some(COUNT as i64 / 2); 2]);
    let numbers = |isolation| {
        let mut numbers: Vec<_> = shown(kafka, &sink, 2, isolation).into_values().flatten().collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(numbers(Isolation::Committed), (0..COUNT).collect::<Vec<_>>());
    assert!(numbers(Isolation::Uncommitted).len() > COUNT, "something was aborted");
}
