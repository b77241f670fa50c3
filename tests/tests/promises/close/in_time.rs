//! S19, S25: a fatal error ends everything whenever it comes, and a close is over in time whatever call is under way.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Driver, Failure, FailureKind, Message, Status};
use aioproducer_driver::{AioProducer, Builder, CloseReport, Group, GroupOffset, Record, Remedy};
use aioproducer_rdkafka::{
    EmbeddedBroker, Event, Librdkafka, Partition, Partitioner, ToPartition, clients_left_behind,
};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure};
use aioproducer_tests::{broker, promises};

promises! {
    s19_a_fatal_error_before_the_start_is_done_ends_everything,
    s19_a_backend_that_ends_before_the_start_is_done_ends_everything,
    s19_a_fatal_error_in_a_close_ends_it,
    s19_a_fatal_error_after_the_end_changes_nothing,
    s25_close_is_over_in_time_while_metadata_is_waited_for,
    s25_close_is_over_in_time_while_a_call_that_nobody_waits_for_is_under_way,
    s25_close_is_over_in_time_while_offsets_are_sent,
    s25_close_is_over_in_time_while_a_transaction_is_aborted,
    s25_close_is_over_in_time_while_transactions_are_initialised,
    s25_close_is_over_in_time_while_librdkafka_hangs,
}

const FATAL: Failure =
    Failure { kind: FailureKind::Fatal, status: Status::NotPersisted, code: -150, reason: "the test says it is fatal" };

/// A backend that meets a fatal error before its start is done.
struct Eager {
    ends: bool,
}

struct Running<R, E>(Arc<E>, PhantomData<fn() -> R>);

impl<R: Message> Connect<R> for Eager {
    type Error = Infallible;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
        Ok(BackendLimits {
            delivery_timeout,
            linger: Duration::ZERO,
            record_bytes: 1_000_000,
            record_overhead: 0,
            record_setting: "",
            transactional: false,
        })
    }

    fn connect<E: Driver<R>>(self, driver: Arc<E>, _capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
        driver.fatal(FATAL);
        if self.ends {
            driver.ended();
        }
        Ok(Arc::new(Running(driver, PhantomData)))
    }
}

impl<R: Message, E: Driver<R>> Backend for Running<R, E> {
    fn wake(&self) {}

    fn flush(&self) {}

    fn purge(&self, _queued: bool, _in_flight: bool) {}

    fn shut_down(&self) {
        self.0.ended();
    }
}

async fn ends_before_its_start(host: Host, ends: bool) {
    let producer = host.start(AioProducer::builder(Eager { ends }));
    assert!(producer.is_closed());
    assert_eq!(producer.fatal_error().map(|fatal| fatal.code), Some(-150));
    assert!(at_once(producer.produce(numbered(0))).is_err());
    assert!(producer.close(Duration::ZERO).await.is_complete());
}

async fn s19_a_fatal_error_before_the_start_is_done_ends_everything(host: Host) {
    ends_before_its_start(host, false).await;
}

async fn s19_a_backend_that_ends_before_the_start_is_done_ends_everything(host: Host) {
    ends_before_its_start(host, true).await;
}

async fn s19_a_fatal_error_in_a_close_ends_it(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let delivery = accepted(&producer, numbered(0));
    drop(script.accept().await);
    let mut close = Observed::new(producer.close(Duration::from_secs(3600)));
    assert!(close.is_pending());
    script.fatal(FATAL);
    assert_eq!(close.into_future().await.into_unsent().len(), 1);
    assert_eq!(delivery.await.expect_err("fatal").kind(), FailureKind::Fatal);
}

async fn s19_a_fatal_error_after_the_end_changes_nothing(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    script.stay_up();
    let delivery = accepted(&producer, numbered(0));
    let taken = script.accept().await;
    let mut close = Observed::new(producer.close(Duration::ZERO));
    assert!(close.is_pending());
    host.until(|| script.shut_downs() > 0).await;
    // Of a thread that could not be ended.
    let late = script.late();
    script.vanish();
    let report = close.into_future().await;
    assert_eq!(
        (report.unsent().len(), report.unreturned(), report.is_complete()),
        (0, 1, false),
        "nobody gave it back"
    );
    late.fatal(FATAL);
    late.fail(&taken[0], failure(FailureKind::Purged, Status::NotPersisted));
    late.end();
    let error = delivery.await.expect_err("closed");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::PossiblyPersisted));
    assert_eq!((producer.len(), producer.fatal_error()), (0, None));
}

/// What the test gives a close, and far more than it takes on a slow machine: librdkafka's own calls wait for a minute.
const WITHIN: Duration = Duration::from_millis(500);
const IN_TIME: Duration = Duration::from_secs(15);

async fn closes_in_time(producer: &AioProducer) -> CloseReport {
    let start = Instant::now();
    let report = producer.close(WITHIN).await;
    let took = start.elapsed();
    assert!(took < IN_TIME, "the close took {took:?}");
    report
}

/// A cluster that answers nothing any more, and a producer that has met it.
async fn silent(host: &Host) -> (EmbeddedBroker, AioProducer) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    producer.send(Record::to("t").payload("first")).await.expect("delivered");
    producer.list_topics(None).await.expect("an answer");
    broker.round_trip_time(-1, Duration::from_secs(3000)).expect("a delay");
    (broker, producer)
}

async fn s25_close_is_over_in_time_while_metadata_is_waited_for(host: Host) {
    let (_broker, producer) = silent(&host).await;
    let mut metadata = Observed::new(producer.list_topics(None));
    assert!(metadata.is_pending());
    host.pause(Duration::from_millis(100)).await;
    drop(closes_in_time(&producer).await);
    let error = metadata.ready().expect_err("closed");
    assert!(error.to_string().contains("closed"), "{error}");
}

async fn s25_close_is_over_in_time_while_a_call_that_nobody_waits_for_is_under_way(host: Host) {
    let (_broker, producer) = silent(&host).await;
    let mut metadata = Observed::new(producer.list_topics(Some("t")));
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

/// Holds up librdkafka's main thread, which asks for the partition of a record when it knows the topic.
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
    let mut told = false;
    while let Some(event) = events.next().await {
        told |= matches!(event, Event::Log(line) if line.facility == "LEFT");
    }
    assert!(told, "a line of the log says so, and the events have an end");
    goes_on.store(true, Ordering::SeqCst);
}
