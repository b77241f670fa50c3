//! S40: markers, offsets and epochs, which the embedded broker does not have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aioproducer_driver::{
    AioProducer, EndError, Group, GroupOffset, ProduceError, Record, Remedy, SendError, Status, Transaction,
    TransactionError,
};
use aioproducer_rdkafka::{ClientConfig, ErrorCode, Librdkafka, consumer_group};
use aioproducer_tests::broker::{Isolation, Logged, read_log};
use aioproducer_tests::executor::Host;
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};

promises_on_kafka! {
    s40_committed_is_visible_and_aborted_is_not,
    s40_offsets_are_committed_with_the_records_or_not_at_all,
    s40_a_fenced_producer_is_fatal_whatever_it_does_next,
    s40_what_is_read_transformed_and_written_is_there_once,
}

const LONG: Duration = Duration::from_secs(50);

fn config(kafka: &Kafka, id: &str) -> ClientConfig {
    let mut config = kafka.config();
    config.set("transactional.id", id);
    config
}

fn producer(host: &Host, kafka: &Kafka, id: &str) -> AioProducer {
    host.start(AioProducer::builder(Librdkafka::new(config(kafka, id))))
}

/// The payloads that a consumer is shown, which are numbers, partition by partition.
fn shown(kafka: &Kafka, topic: &str, partitions: i32, isolation: Isolation) -> BTreeMap<i32, Vec<usize>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for logged in read_log(kafka.bootstrap_servers(), topic, partitions, isolation) {
        found.entry(logged.partition).or_default().push(logged.text().parse().expect("a number"));
    }
    found
}

async fn s40_committed_is_visible_and_aborted_is_not(host: Host) {
    const PARTITIONS: i32 = 3;
    let kafka = Kafka::shared();
    let (topic, id) = (kafka.topic("visible", PARTITIONS), kafka.fresh("visible"));
    let producer = producer(&host, kafka, &id);
    let record = |n: usize| Record::to(&topic).partition(n as i32 % PARTITIONS).payload(n.to_string());
    let (mut all, mut committed) = (BTreeMap::<i32, Vec<_>>::new(), BTreeMap::<i32, Vec<_>>::new());
    for (round, ends) in ["commit", "abort", "drop", "commit", "abort", "commit"].into_iter().enumerate() {
        let numbers = round * 60..(round + 1) * 60;
        let transaction = producer.begin().await.expect("it begins");
        let outcomes = transaction.produce_all(numbers.clone().map(record)).await;
        let reports: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("delivered")).collect();
        for n in numbers {
            all.entry(n as i32 % PARTITIONS).or_default().push(n);
            if ends == "commit" {
                committed.entry(n as i32 % PARTITIONS).or_default().push(n);
            }
        }
        if round == 3 {
            // It is open: all of it is in the log, where the reports say, and nothing of it is shown.
            let log = read_log(kafka.bootstrap_servers(), &topic, PARTITIONS, Isolation::Uncommitted);
            for (n, report) in (round * 60..).zip(&reports) {
                let place =
                    |logged: &&Logged| (logged.partition, logged.offset) == (report.partition(), report.offset());
                assert_eq!(log.iter().find(place).map(Logged::text), Some(n.to_string().as_str()));
            }
            let before = shown(kafka, &topic, PARTITIONS, Isolation::Committed);
            assert_eq!(before.values().flatten().max(), Some(&59), "the first round, and not the open one: {before:?}");
        }
        match ends {
            "commit" => transaction.commit().await.expect("committed"),
            "abort" => transaction.abort().await.expect("aborted"),
            _ => drop(transaction),
        }
    }
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(shown(kafka, &topic, PARTITIONS, Isolation::Committed), committed);
    assert_eq!(shown(kafka, &topic, PARTITIONS, Isolation::Uncommitted), all);
}

/// How far a group has come in partitions 0 and 1 of `topic`.
fn positions(kafka: &Kafka, group: &str, topic: &str) -> [Option<i64>; 2] {
    let mut config = kafka.config();
    config.set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, 1);
    let found = consumer.committed_offsets(list, LONG).expect("an answer");
    [0, 1].map(|partition| match found.find_partition(topic, partition).expect("it was asked for").offset() {
        Offset::Offset(offset) => Some(offset),
        Offset::Invalid => None,
        other => panic!("{other:?}"),
    })
}

async fn s40_offsets_are_committed_with_the_records_or_not_at_all(host: Host) {
    let kafka = Kafka::shared();
    let (source, sink) = (kafka.topic("source", 2), kafka.topic("sink", 1));
    let (group, id) = (kafka.fresh("group"), kafka.fresh("offsets"));
    let producer = producer(&host, kafka, &id);
    let offsets = |a, b| [GroupOffset::new(&source, 0, a), GroupOffset::new(&source, 1, b)];
    let step = async |n: usize, offsets| {
        let transaction = producer.begin().await.expect("it begins");
        transaction.send(Record::to(&sink).payload(n.to_string())).await.expect("delivered");
        transaction.send_offsets(offsets, Group::new(&group)).await.expect("sent");
        transaction
    };
    assert_eq!(positions(kafka, &group, &source), [None, None]);
    step(0, offsets(3, 5)).await.abort().await.expect("aborted");
    assert_eq!(positions(kafka, &group, &source), [None, None], "aborted");
    step(1, offsets(7, 11)).await.commit().await.expect("committed");
    assert_eq!(positions(kafka, &group, &source), [Some(7), Some(11)], "committed");
    step(2, offsets(13, 17)).await.abort().await.expect("aborted");
    assert_eq!(positions(kafka, &group, &source), [Some(7), Some(11)], "aborted");
    drop(step(3, offsets(19, 23)).await);
    step(4, offsets(29, 31)).await.commit().await.expect("committed");
    assert_eq!(positions(kafka, &group, &source), [Some(29), Some(31)], "committed");
    assert_eq!(shown(kafka, &sink, 1, Isolation::Committed)[&0], [1, 4]);
}

async fn s40_a_fenced_producer_is_fatal_whatever_it_does_next(host: Host) {
    let kafka = Kafka::shared();
    for next in ["commit", "abort", "send_offsets", "send", "begin"] {
        let (topic, id) = (kafka.topic("fenced", 1), kafka.fresh("fenced"));
        let old = producer(&host, kafka, &id);
        let record = |n: usize| Record::to(&topic).payload(n.to_string());
        let mut transaction = old.begin().await.expect("it begins");
        transaction.send(record(1)).await.expect("delivered");
        let new = producer(&host, kafka, &id);
        if next == "begin" {
            transaction.commit().await.expect("committed");
            new.init_transactions().await.expect("it takes over");
            transaction = old.begin().await.expect("the broker is not asked");
        } else {
            new.init_transactions().await.expect("it takes over");
        }

        let error = fenced(&host, next, transaction, record(8).into_owned()).await;
        assert_eq!(error.remedy(), Remedy::GiveUp, "{next}: {error:?}");
        host.until(|| old.fatal_error().is_some()).await;
        let fatal = old.fatal_error().expect("it has one");
        assert_eq!(fatal.code, ErrorCode::RD_KAFKA_RESP_ERR__FENCED as i32, "{next}: {fatal:?}");
        let refused = old.begin().await.expect_err("nothing goes on");
        assert_eq!((refused.remedy(), refused.code()), (Remedy::GiveUp, Some(fatal.code)), "{next}");
        let refused = old.produce(record(9)).await.expect_err("nothing goes on");
        assert_eq!(refused.into_record(), record(9), "{next}");

        let transaction = new.begin().await.expect("it begins");
        transaction.send(record(2)).await.expect("delivered");
        transaction.commit().await.expect("committed");
        let expected = if next == "begin" { vec![1, 2] } else { vec![2] };
        assert_eq!(shown(kafka, &topic, 1, Isolation::Committed)[&0], expected, "{next}");
        assert!(old.close(LONG).await.is_complete(), "nothing is left to send");
        assert!(new.close(LONG).await.is_complete());
    }
}

/// What a fenced producer is told by its transaction.
async fn fenced(host: &Host, next: &str, transaction: Transaction, record: Record<'static>) -> TransactionError {
    let ended = match next {
        "commit" => transaction.commit().await,
        "abort" => transaction.abort().await,
        "send_offsets" => {
            let offset = GroupOffset::new("any", 0, 1);
            let error = transaction.send_offsets([offset], Group::new("fenced")).await.expect_err("fenced");
            // The backend tells of it by and by.
            host.until(|| transaction.producer().fatal_error().is_some()).await;
            match transaction.produce(record.clone()).await {
                Err(ProduceError::Fatal { record: back, .. }) => assert_eq!(back, record),
                other => panic!("{other:?}"),
            }
            return error;
        }
        _ => {
            match transaction.send(record.clone()).await {
                Err(SendError::Delivery(error)) => {
                    assert_eq!(error.status(), Status::NotPersisted, "{error:?}");
                    assert_eq!(error.into_record(), Some(record));
                }
                other => panic!("{other:?}"),
            }
            transaction.commit().await
        }
    };
    let (error, transaction) = ended.expect_err("fenced").into_parts();
    match transaction {
        // It was told of the lost record first.
        Some(transaction) if error.remedy() == Remedy::Abort => {
            transaction.abort().await.expect_err("fenced").into_parts().0
        }
        _ => error,
    }
}

/// A consumer whose offsets are the transactions' business.
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

/// Has the consumer read the batch again.
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

/// One transaction: the batch's numbers again, and how far the group has come.
async fn transform(
    producer: &AioProducer,
    consumer: &BaseConsumer,
    batch: &[OwnedMessage],
    sink: &str,
    ends: &str,
) -> Result<(), EndError> {
    let transaction = producer.begin().await.expect("it begins");
    let mut next = BTreeMap::new();
    for message in batch {
        let record = Record::to(sink).payload(message.payload().expect("a number"));
        let delivery = transaction.produce(record).await.expect("accepted");
        next.insert(message.partition(), message.offset() + 1);
        drop(delivery);
    }
    let source = batch[0].topic();
    let offsets = next.into_iter().map(|(partition, offset)| GroupOffset::new(source, partition, offset));
    let mut group = consumer_group(consumer).expect("it has a group");
    if ends == "a lost place" {
        group.generation += 1;
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
