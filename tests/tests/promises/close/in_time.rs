//! S25: a close keeps its deadline, whatever call is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, Builder, CloseReport, Record};
use aioproducer_rdkafka::{
    EmbeddedBroker, Event, Librdkafka, Partition, Partitioner, ToPartition, clients_left_behind,
};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::accepted;
use aioproducer_tests::{broker, promises};

promises! {
    s25_close_is_over_in_time_while_metadata_is_waited_for,
    s25_close_is_over_in_time_while_a_call_whose_future_was_dropped_is_under_way,
    s25_close_is_over_in_time_while_offsets_are_sent,
    s25_close_is_over_in_time_while_a_transaction_is_aborted,
    s25_close_is_over_in_time_while_transactions_are_initialised,
    s25_close_is_over_in_time_while_librdkafka_hangs,
}

/// The deadline of a close, and more than it takes on a slow machine: librdkafka's own calls wait for a minute.
const WITHIN: Duration = Duration::from_millis(500);

const IN_TIME: Duration = Duration::from_secs(15);

async fn closes_in_time(producer: &AioProducer) -> CloseReport {
    let start = Instant::now();
    let report = producer.close(WITHIN).await;
    let took = start.elapsed();
    assert!(took < IN_TIME, "the close took {took:?}");
    report
}

/// A cluster that stops answering, and a producer that was connected before.
async fn silent(host: &Host) -> (EmbeddedBroker, AioProducer) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    producer.send(Record::to("t").payload("first")).await.expect("delivered");
    producer.metadata(None).await.expect("an answer");
    broker.round_trip_time(-1, Duration::from_secs(3000)).expect("a delay");
    (broker, producer)
}

async fn s25_close_is_over_in_time_while_metadata_is_waited_for(host: Host) {
    let (_broker, producer) = silent(&host).await;
    let mut metadata = Observed::new(producer.metadata(None));
    assert!(metadata.is_pending());
    host.pause(Duration::from_millis(100)).await;
    drop(closes_in_time(&producer).await);
    let error = metadata.ready().expect_err("closed");
    assert!(error.to_string().contains("closed"), "{error}");
}

async fn s25_close_is_over_in_time_while_a_call_whose_future_was_dropped_is_under_way(host: Host) {
    let (_broker, producer) = silent(&host).await;
    let mut metadata = Observed::new(producer.metadata(Some("t")));
    assert!(metadata.is_pending());
    host.pause(Duration::from_millis(100)).await;
    drop(metadata);
    drop(closes_in_time(&producer).await);
}

fn transactional(broker: &EmbeddedBroker) -> Builder<Librdkafka> {
    let mut config = broker::config(broker);
    config.set("transactional.id", "tests");
    AioProducer::builder(Librdkafka::new(config))
}

async fn s25_close_is_over_in_time_while_offsets_are_sent(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(transactional(&broker));
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(Record::to("t").payload("x")).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_secs(3000)).expect("a delay");
    let mut sent = Observed::new(transaction.send_offsets([GroupOffset::new("t", 0, 5)], Group::new("g")));
    assert!(sent.is_pending());
    host.pause(Duration::from_millis(100)).await;
    drop(closes_in_time(&producer).await);
    assert!(sent.into_future().await.is_err());
}

async fn s25_close_is_over_in_time_while_a_transaction_is_aborted(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(transactional(&broker));
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(Record::to("t").payload("x")).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_secs(3000)).expect("a delay");
    let mut abort = Observed::new(transaction.abort());
    assert!(abort.is_pending());
    host.pause(Duration::from_millis(100)).await;
    drop(closes_in_time(&producer).await);
    assert!(abort.into_future().await.is_err());
}

async fn s25_close_is_over_in_time_while_transactions_are_initialised(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    broker.round_trip_time(-1, Duration::from_secs(3000)).expect("a delay");
    let producer = host.start(transactional(&broker));
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    host.pause(Duration::from_millis(100)).await;
    drop(closes_in_time(&producer).await);
    assert_eq!(begin.into_future().await.expect_err("closed").remedy(), Remedy::GiveUp);
}

/// Blocks librdkafka's main thread, which calls the partitioner when it learns of the topic.
struct Slow {
    asked: Arc<AtomicBool>,
    goes_on: Arc<AtomicBool>,
}

impl Partition for Slow {
    fn partition(&self, _: ToPartition<'_>) -> i32 {
        self.asked.store(true, Ordering::SeqCst);
        while !self.goes_on.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(1));
        }
        0
    }
}

async fn s25_close_is_over_in_time_while_librdkafka_hangs(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let (asked, goes_on) = (Arc::default(), Arc::default());
    let rule = Slow { asked: Arc::clone(&asked), goes_on: Arc::clone(&goes_on) };
    let mut backend = broker::backend(&broker).partitioner(Partitioner::Custom(Arc::new(rule)));
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    let record = Record::to("t").key("k").payload(vec![7; 10_000]);
    let delivery = accepted(&producer, record.clone());
    host.until(|| asked.load(Ordering::SeqCst)).await;
    let unsent = closes_in_time(&producer).await.into_unsent();
    assert!(clients_left_behind() > 0);
    assert_eq!(unsent.len(), 1);
    assert_eq!((&unsent[0].record, unsent[0].status), (&record, Status::PossiblyPersisted));
    let error = at_once(delivery).expect_err("closed");
    assert_eq!(error.kind(), FailureKind::Closed);
    assert_eq!(error.into_record(), Some(record));
    let mut logged = false;
    while let Some(event) = events.next().await {
        logged |= matches!(event, Event::Log(line) if line.facility == "LEFT");
    }
    assert!(logged, "a line of the log says so, and the events have an end");
    goes_on.store(true, Ordering::SeqCst);
}
