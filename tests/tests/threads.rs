//! S25, S26, S31, S33, S36: threads end. They count the threads of the whole process, so they are a
//! binary of their own and take turns.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::StartError;
use aioproducer_driver::{AioProducer, Delivery, Record};
use aioproducer_rdkafka::{ClientConfig, ConfigError, EmbeddedBroker, Librdkafka};
use aioproducer_tests::executor::{Executor, Host, TokioCurrent, TokioMulti, still_waiting, watched};
use aioproducer_tests::probe::{at_once, threads, until};
use aioproducer_tests::{broker, promises};
use smol::future::block_on;

promises! {
    s25_close_without_a_broker_returns_the_records_and_ends_the_threads,
    s25_close_with_a_broker_ends_the_threads,
    s26_drop_under_load_ends_deliveries_and_threads,
    s26_drop_without_a_broker_ends_deliveries_and_threads,
    s26_a_delivery_may_outlive_everything,
    s33_a_start_that_fails_leaves_nothing_running,
    s36_the_thread_that_waits_comes_with_the_first_call_and_ends,
}

/// The backend's threads, and librdkafka's.
const NAMES: [&str; 2] = ["aioproducer", "rdk:"];

static TURN: Mutex<()> = Mutex::new(());

/// One test's turn. No thread of an earlier test is left.
struct Turn(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

fn turn() -> Turn {
    let turn = loop {
        match TURN.try_lock() {
            Ok(turn) => break turn,
            Err(TryLockError::Poisoned(turn)) => break turn.into_inner(),
            Err(TryLockError::WouldBlock) => {
                still_waiting();
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    };
    until(|| running().is_empty());
    Turn(turn)
}

fn running() -> Vec<String> {
    threads(&NAMES)
}

fn accepted(producer: &AioProducer, n: usize) -> Delivery {
    at_once(producer.produce(Record::to("t").payload(n.to_string()))).expect("accepted")
}

/// The number of threads of a broker in this process.
fn broker_threads(broker: &EmbeddedBroker) -> usize {
    broker.create_topic("t", 4, 1).expect("a topic");
    running().len()
}

async fn s25_close_without_a_broker_returns_the_records_and_ends_the_threads(host: Host) {
    let _turn = turn();
    let producer =
        host.start(AioProducer::builder(Librdkafka::new(broker::config_for(&broker::closed_port())).workers(3)));
    if cfg!(target_os = "linux") {
        assert!(!running().is_empty(), "threads can be counted here");
    }
    let deliveries: Vec<_> = (0..100).map(|n| accepted(&producer, n)).collect();
    let report = producer.close(Duration::from_millis(200)).await;
    let mut unsent: Vec<_> = report
        .into_unsent()
        .into_iter()
        .map(|unsent| {
            assert_eq!(unsent.status, Status::NotPersisted, "no broker was there to write it");
            String::from_utf8(unsent.record.get_payload().expect("a payload").to_vec())
                .unwrap()
                .parse::<usize>()
                .unwrap()
        })
        .collect();
    unsent.sort_unstable();
    assert_eq!(unsent, (0..100).collect::<Vec<_>>());
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let error = at_once(delivery).expect_err("not sent");
        assert!(matches!(error.kind(), FailureKind::Closed | FailureKind::Purged), "{error}");
        assert_eq!(error.into_record().expect("the record").get_payload(), Some(n.to_string().as_bytes()));
    }
    assert!(producer.close(Duration::from_secs(1)).await.is_complete(), "a second close is fine");
    // The last thread reports the end of the close and may take a moment to end itself.
    host.until(|| running().is_empty()).await;
}

async fn s25_close_with_a_broker_ends_the_threads(host: Host) {
    let _turn = turn();
    let broker = broker::start();
    let before = broker_threads(&broker);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    for n in 0..100 {
        drop(accepted(&producer, n));
    }
    assert!(producer.close(Duration::from_secs(50)).await.is_complete());
    host.until(|| running().len() <= before).await;
    assert_eq!(broker::read_back(&broker, "t", 4).len(), 100);
}

async fn s26_drop_under_load_ends_deliveries_and_threads(host: Host) {
    let _turn = turn();
    let broker = broker::start();
    let before = broker_threads(&broker);
    let producer = host.start(AioProducer::builder(Librdkafka::new(broker::config(&broker)).workers(2)));
    producer.send(Record::to("t").payload("first")).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_millis(300)).expect("a delay");
    let deliveries: Vec<_> = (0..5_000).map(|n| accepted(&producer, n)).collect();
    drop(producer);
    let mut delivered = 1;
    for (n, delivery) in deliveries.into_iter().enumerate() {
        match delivery.await {
            Ok(_) => delivered += 1,
            Err(error) => {
                assert!(matches!(error.kind(), FailureKind::Closed | FailureKind::Purged), "{error}");
                assert_eq!(error.into_record().expect("it is back").get_payload(), Some(n.to_string().as_bytes()));
            }
        }
    }
    host.until(|| running().len() <= before).await;
    broker.round_trip_time(-1, Duration::ZERO).expect("no delay");
    assert!(broker::read_back(&broker, "t", 4).len() >= delivered, "what was reported is there");
}

async fn s26_drop_without_a_broker_ends_deliveries_and_threads(host: Host) {
    let _turn = turn();
    let producer = host.start(AioProducer::builder(broker::unreachable()).linger(Duration::from_millis(5)));
    let deliveries: Vec<_> = (0..1_000).map(|n| accepted(&producer, n)).collect();
    drop(producer);
    for delivery in deliveries {
        let error = delivery.await.expect_err("no broker was there");
        assert_eq!(error.status(), Status::NotPersisted);
    }
    host.until(|| running().is_empty()).await;
}

async fn s26_a_delivery_may_outlive_everything(host: Host) {
    let _turn = turn();
    let broker = broker::start();
    broker.create_topic("t", 1, 1).expect("a topic");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let delivered = accepted(&producer, 0);
    assert!(producer.flush().await.is_ok());
    broker.broker_down(-1).expect("it goes");
    let failed = accepted(&producer, 1);
    drop(producer);
    drop(broker);
    host.until(|| running().is_empty()).await;
    assert_eq!(delivered.await.expect("delivered").topic(), "t");
    assert_eq!(failed.await.expect_err("not sent").into_record(), Some(Record::to("t").payload("1")));
}

async fn s33_a_start_that_fails_leaves_nothing_running(host: Host) {
    let _turn = turn();
    let mut clash = broker::config_for("localhost:1");
    clash.set("reconnect.backoff.ms", "2000").set("reconnect.backoff.max.ms", "1000");
    for config in [ClientConfig::new(), clash] {
        let error = AioProducer::builder(Librdkafka::new(config)).start(host.runtime()).expect_err("refused");
        assert!(matches!(error, StartError::Backend(ConfigError::NoBootstrapServers | ConfigError::Client { .. })));
    }
    let backend = Librdkafka::new(broker::config_for("localhost:1"));
    let error = AioProducer::builder(backend).slots(0).start(host.runtime()).expect_err("refused");
    assert!(matches!(error, StartError::Limits(_)));
    host.until(|| running().is_empty()).await;
}

async fn s36_the_thread_that_waits_comes_with_the_first_call_and_ends(host: Host) {
    let _turn = turn();
    let broker = broker::start();
    let before = broker_threads(&broker);
    let callers = || threads(&["aioproducer-tra"]).len();
    for closes in [true, false] {
        let mut config = broker::config(&broker);
        config.set("transactional.id", "threads");
        let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
        assert_eq!(callers(), 0, "no call was made");
        for _ in 0..3 {
            let transaction = producer.begin().await.expect("it begins");
            transaction.send(Record::to("t").payload("x")).await.expect("delivered");
            transaction.commit().await.expect("committed");
        }
        assert_eq!(callers(), 1);
        let transaction = producer.begin().await.expect("it begins");
        if closes {
            assert!(producer.close(Duration::from_secs(50)).await.is_complete());
        }
        drop((producer, transaction));
        host.until(|| running().len() <= before).await;
    }
}

fn executor_dropped<E: Executor>() {
    watched(|| {
        let _turn = turn();
        let executor = E::new();
        let producer = executor.host().start(AioProducer::builder(broker::unreachable()));
        let delivery = accepted(&producer, 0);
        drop(executor);
        assert!(block_on(delivery).is_err());
        until(|| running().is_empty());
        assert!(producer.is_closed());
    });
}

#[test]
fn s31_threads_end_with_the_executor_tokio_multi() {
    executor_dropped::<TokioMulti>();
}

#[test]
fn s31_threads_end_with_the_executor_tokio_current() {
    executor_dropped::<TokioCurrent>();
}
