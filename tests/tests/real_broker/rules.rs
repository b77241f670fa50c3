//! Rules of brokers that `aioproducer-sim` has, too: `docs/design/simulation-rules.md` names these tests beside the simulation's.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::broker::{Isolation, read_log};
use aioproducer_tests::executor::Host;
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;

use super::raw::{Connection, Numbered};
use super::transactions;

promises_on_kafka! {
    s40_an_empty_transaction_leaves_nothing_and_the_end_of_another_takes_an_offset,
    s17_a_partition_with_fewer_replicas_than_the_minimum_needs_all_that_it_has,
    s17_a_partition_that_does_not_exist_is_a_kind_of_its_own_on_kafka,
}

const LONG: Duration = Duration::from_secs(30);
const OUT_OF_ORDER: (i64, i64) = (45, -1);
const OLD_EPOCH: (i64, i64) = (47, -1);

async fn s40_an_empty_transaction_leaves_nothing_and_the_end_of_another_takes_an_offset(host: Host) {
    let kafka = Kafka::shared();
    let (topic, id) = (kafka.topic("ends", 1), kafka.fresh("ends"));
    let producer = transactions::producer(&host, kafka, &id);
    for ends in ["commit", "empty", "abort", "empty", "commit"] {
        let transaction = producer.begin().await.expect("it begins");
        if ends != "empty" {
            transaction.send(Record::to(&topic).payload("1")).await.expect("delivered");
        }
        match ends {
            "abort" => transaction.abort().await.expect("aborted"),
            _ => transaction.commit().await.expect("committed"),
        }
    }
    assert!(producer.close(LONG).await.is_complete());
    let log = read_log(kafka.bootstrap_servers(), &topic, 1, Isolation::Committed);
    assert_eq!(log.iter().map(|logged| logged.offset).collect::<Vec<_>>(), [0, 4]);
}

async fn s17_a_partition_with_fewer_replicas_than_the_minimum_needs_all_that_it_has(host: Host) {
    let kafka = Kafka::shared();
    let topic = kafka.topic_with("few", 1, &[("min.insync.replicas", "2")]);
    let producer = host.start(AioProducer::builder(Librdkafka::new(kafka.config())));
    let report = producer.send(Record::to(&topic).payload("x")).await.expect("one of one is enough");
    assert_eq!(report.offset(), Some(0));
    producer.close(LONG).await;
}

async fn s17_a_partition_that_does_not_exist_is_a_kind_of_its_own_on_kafka(host: Host) {
    let kafka = Kafka::shared();
    let topic = kafka.topic("narrow", 1);
    let producer = host.start(AioProducer::builder(Librdkafka::new(kafka.config())));
    let error = producer.send(Record::to(&topic).partition(7).payload("x")).await.expect_err("there is none");
    assert_eq!((error.kind(), error.status()), (Some(FailureKind::UnknownPartition), Status::NotPersisted), "{error}");
    producer.close(LONG).await;
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_a_broker_recognises_the_newest_five_batches_of_a_producer_and_no_gap() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("sequences", 1);
    let mut connection = Connection::new(kafka.bootstrap_servers());
    let producer = connection.producer();
    let mut produce = |first, records| connection.produce(&topic, Numbered { producer, epoch: 0, first, records });
    assert_eq!(produce(0, 2), (0, 0));
    assert_eq!(produce(2, 3), (0, 2));
    assert_eq!(produce(0, 2), (0, 0), "known, with its offset");
    assert_eq!(produce(6, 1), OUT_OF_ORDER, "a gap");
    for n in 0..4 {
        assert_eq!(produce(5 + n, 1), (0, 5 + i64::from(n)));
    }
    assert_eq!(produce(0, 2), OUT_OF_ORDER, "six batches ago");
    assert_eq!(produce(2, 3), (0, 2), "five batches ago");
    assert_eq!(read_log(kafka.bootstrap_servers(), &topic, 1, Isolation::Uncommitted).len(), 9);
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_a_new_epoch_begins_anew_and_a_new_producer_anywhere() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("epochs", 1);
    let mut connection = Connection::new(kafka.bootstrap_servers());
    let (producer, other) = (connection.producer(), connection.producer());
    let mut produce =
        |producer, epoch, first| connection.produce(&topic, Numbered { producer, epoch, first, records: 1 });
    assert_eq!(produce(producer, 0, 0), (0, 0));
    assert_eq!(produce(producer, 1, 5), OUT_OF_ORDER, "a new epoch begins with 0");
    assert_eq!(produce(producer, 1, 0), (0, 1));
    assert_eq!(produce(producer, 0, 1), OLD_EPOCH);
    assert_eq!(produce(other, 0, 5), (0, 2), "of an unknown producer any number is right");
}
