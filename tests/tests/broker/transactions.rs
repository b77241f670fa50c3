//! S36–S39 on librdkafka and its mock cluster, after librdkafka's own test 0105: which errors are retried, which leave the
//! abort, and which are fatal.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::TransactionError;
use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, Builder, Record};
use aioproducer_rdkafka::{ApiKey, ClientConfig, EmbeddedBroker, ErrorCode, Librdkafka, consumer_group};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::{broker, promises};
use rdkafka::consumer::{BaseConsumer, Consumer};

promises! {
    s36_records_and_offsets_in_one_transaction,
    s36_the_offsets_of_a_live_consumer,
    s36_errors_that_pass_are_retried,
    s36_the_coordinator_may_move,
    s36_errors_of_offsets_are_sorted,
    s36_offsets_without_a_coordinator_can_be_sent_again,
    s37_a_commit_after_a_delivery_timeout_fails,
    s38_abort_purges_what_librdkafka_queues,
    s39_a_fenced_producer_is_fatal,
    s39_what_leaves_the_abort_is_aborted_and_goes_on,
    s39_a_commit_that_timed_out_is_resolved,
    s39_calls_with_hardly_any_time_are_in_doubt_and_never_refused,
    s39_init_that_timed_out_is_resumed,
    s25_close_aborts_on_the_broker,
    s25_close_is_not_held_up_by_a_call,
}

const ID: &str = "tests";
const LONG: Duration = Duration::from_secs(50);

fn config(broker: &EmbeddedBroker) -> ClientConfig {
    let mut config = broker::config(broker);
    config.set("transactional.id", ID);
    config
}

fn builder(broker: &EmbeddedBroker) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config(broker)))
}

fn record(text: &str) -> Record<'_> {
    Record::to("t").payload(text)
}

/// The mock cluster accepts offsets of existing partitions but does not keep them. Only a real broker shows that they are
/// committed with the records.
fn with_source() -> EmbeddedBroker {
    let broker = broker::start_with_topic("t", 2);
    broker.create_topic("in", 4, 1).expect("a topic");
    broker
}

/// Begins, writes one record, and commits.
async fn whole(producer: &AioProducer, text: &str) -> Result<(), TransactionError> {
    let transaction = producer.begin().await?;
    transaction.send(record(text)).await.expect("delivered");
    Ok(transaction.commit().await?)
}

/// The same, repeated until the record is in time: connections take a while.
async fn whole_in_time(producer: &AioProducer, text: &str) {
    loop {
        let transaction = producer.begin().await.expect("it begins");
        if transaction.send(record(text)).await.is_ok() {
            break transaction.commit().await.expect("committed");
        }
    }
}

async fn s36_records_and_offsets_in_one_transaction(host: Host) {
    let broker = with_source();
    let producer = host.start(builder(&broker));
    producer.init_transactions().await.expect("it is done");
    for round in 0..3 {
        let transaction = producer.begin().await.expect("it begins");
        let texts: Vec<_> = (0..20).map(|n| format!("{round} {n}")).collect();
        let outcomes = transaction.produce_all(texts.iter().map(|text| record(text).key("k"))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let offsets = [GroupOffset::new("in", 0, 10 + round), GroupOffset::new("in", 2, 20 + round)];
        transaction.send_offsets(offsets, Group::new("g")).await.expect("sent");
        transaction.commit().await.expect("committed");
    }
    // An unknown group.
    let transaction = producer.begin().await.expect("it begins");
    transaction.send_offsets([GroupOffset::new("in", 0, 7)], Group::new("unknown")).await.expect("sent");
    transaction.commit().await.expect("committed");
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(broker::read_back(&broker, "t", 2).len(), 60);
}

async fn s36_the_offsets_of_a_live_consumer(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("group.id", "g").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&["t"]).expect("a subscription");
    let producer = host.start(builder(&broker));
    whole(&producer, "first").await.expect("committed");
    let mut seen = None;
    while seen.is_none() {
        seen = consumer.poll(Duration::from_millis(20)).map(|message| message.expect("a record").detach());
        host.pause(Duration::ZERO).await;
    }
    let group = consumer_group(&consumer).expect("it has a group");
    assert!(group.id == "g" && group.generation.is_some() && group.member.is_some(), "{group:?}");
    let transaction = producer.begin().await.expect("it begins");
    transaction.send_offsets([GroupOffset::new("t", 0, 1)], group.clone()).await.expect("sent");
    transaction.commit().await.expect("committed");

    let transaction = producer.begin().await.expect("it begins");
    broker.request_errors(ApiKey::TxnOffsetCommit, &[ErrorCode::IllegalGeneration]).expect("errors are set");
    let error = transaction.send_offsets([GroupOffset::new("t", 0, 2)], group).await.expect_err("a lost place");
    assert_eq!(error.remedy(), Remedy::Abort, "{error}");
    drop(transaction);
}

async fn s36_errors_that_pass_are_retried(host: Host) {
    let broker = with_source();
    let producer = host.start(builder(&broker));
    let passing = [ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable];
    broker.request_errors(ApiKey::InitProducerId, &passing).expect("errors are set");
    broker.request_errors(ApiKey::AddPartitionsToTxn, &[ErrorCode::ConcurrentTransactions]).expect("errors are set");
    let passing = [ErrorCode::ConcurrentTransactions, ErrorCode::CoordinatorLoadInProgress];
    broker.request_errors(ApiKey::AddOffsetsToTxn, &passing).expect("errors are set");
    broker.request_errors(ApiKey::TxnOffsetCommit, &[ErrorCode::CoordinatorLoadInProgress]).expect("errors are set");
    broker.request_errors(ApiKey::EndTxn, &[ErrorCode::CoordinatorLoadInProgress]).expect("errors are set");
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(record("one")).await.expect("delivered");
    transaction.send_offsets([GroupOffset::new("in", 0, 5)], Group::new("g")).await.expect("sent");
    transaction.commit().await.expect("committed");

    broker.request_errors(ApiKey::EndTxn, &[ErrorCode::CoordinatorLoadInProgress]).expect("errors are set");
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(record("two")).await.expect("delivered");
    transaction.abort().await.expect("aborted");
}

async fn s36_the_coordinator_may_move(host: Host) {
    let broker = EmbeddedBroker::start_with(3).expect("a cluster");
    broker.create_topic("t", 1, 3).expect("a topic");
    broker.create_topic("in", 1, 3).expect("a topic");
    let producer = host.start(builder(&broker));
    for (round, coordinator) in [1, 2, 3, 1].into_iter().enumerate() {
        broker.transaction_coordinator(ID, coordinator).expect("moved");
        let transaction = producer.begin().await.expect("it begins");
        transaction.send(record("x")).await.expect("delivered");
        broker.transaction_coordinator(ID, 1 + coordinator % 3).expect("moved");
        broker.group_coordinator("g", coordinator).expect("moved");
        let offset = GroupOffset::new("in", 0, round as i64);
        transaction.send_offsets([offset], Group::new("g")).await.expect("sent");
        transaction.commit().await.expect("committed");
    }
}

async fn s36_errors_of_offsets_are_sorted(host: Host) {
    let broker = with_source();
    let producer = host.start(builder(&broker));
    for (request, error) in [
        (ApiKey::AddOffsetsToTxn, ErrorCode::GroupAuthorizationFailed),
        (ApiKey::TxnOffsetCommit, ErrorCode::GroupAuthorizationFailed),
        (ApiKey::TxnOffsetCommit, ErrorCode::FencedInstanceId),
    ] {
        let transaction = producer.begin().await.expect("it begins");
        broker.request_errors(request, &[error]).expect("errors are set");
        let sent = transaction.send_offsets([GroupOffset::new("in", 0, 5)], Group::new("g")).await;
        let refused = sent.expect_err("refused");
        assert_eq!((refused.remedy(), refused.code()), (Remedy::Abort, Some(error)), "{refused}");
        assert_eq!(transaction.commit().await.expect_err("not without the offsets").remedy(), Remedy::Abort);
    }
    whole(&producer, "after that").await.expect("committed");

    let transaction = producer.begin().await.expect("it begins");
    let nul = transaction.send_offsets([GroupOffset::new("in\0", 0, 5)], Group::new("g")).await;
    assert_eq!(nul.expect_err("no topic").remedy(), Remedy::Abort);
}

async fn s36_offsets_without_a_coordinator_can_be_sent_again(host: Host) {
    let broker = with_source();
    let producer = host.start(builder(&broker).call_timeout(Duration::from_millis(100)));
    let transaction = loop {
        match producer.begin().await {
            Ok(transaction) => break transaction,
            Err(error) => assert_eq!(error.remedy(), Remedy::Retry, "{error:?}"),
        }
    };
    broker.broker_down(-1).expect("down");
    let offsets = || [GroupOffset::new("in", 0, 5)];
    let error = transaction.send_offsets(offsets(), Group::new("g")).await.expect_err("no broker is there");
    assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    broker.broker_up(-1).expect("up");
    while let Err(error) = transaction.send_offsets(offsets(), Group::new("g")).await {
        assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    }
    let mut ended = transaction.commit().await;
    while let Err(error) = ended {
        assert_eq!(error.remedy(), Remedy::Resolve, "{error:?}");
        ended = error.into_transaction().expect("to be resolved").commit().await;
    }
}

async fn s37_a_commit_after_a_delivery_timeout_fails(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = config(&broker);
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "50");
    let backend = Librdkafka::new(config);
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(Duration::from_millis(1500)));
    whole_in_time(&producer, "first").await;
    let transaction = producer.begin().await.expect("it begins");
    broker.broker_down(-1).expect("down");
    let delivery = at_once(transaction.produce(record("late"))).expect("accepted");
    let error = transaction.commit().await.expect_err("no broker was there");
    assert_eq!(error.remedy(), Remedy::Abort);
    match error.error() {
        TransactionError::Undelivered { records: 1, first: Some(first) } => {
            assert_eq!(first.kind, FailureKind::TimedOut);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(delivery.await.expect_err("late").kind(), FailureKind::TimedOut);
    broker.broker_up(-1).expect("up");
    error.into_transaction().expect("to be aborted").abort().await.expect("aborted");
    whole_in_time(&producer, "second").await;
    let log = broker::read_back(&broker, "t", 1);
    assert!(log.iter().all(|logged| logged.text() != "late"), "{log:?}");
}

async fn s38_abort_purges_what_librdkafka_queues(host: Host) {
    let broker = broker::start_with_topic("t", 2);
    let mut lingering = config(&broker);
    lingering.set("linger.ms", "40000");
    let producer = host.start(AioProducer::builder(Librdkafka::new(lingering)));
    for _ in 0..3 {
        let transaction = producer.begin().await.expect("it begins");
        let deliveries: Vec<_> =
            (0..300).map(|n| at_once(transaction.produce(record("x").partition(n % 2))).expect("accepted")).collect();
        host.until(|| producer.statistics().handed_off > 0).await;
        transaction.abort().await.expect("aborted");
        for delivery in deliveries {
            let error = delivery.await.expect_err("purged");
            assert_eq!((error.kind(), error.status()), (FailureKind::Purged, Status::NotPersisted));
        }
        assert!(producer.is_empty());
    }
    // The next transaction is complete.
    let transaction = producer.begin().await.expect("it begins");
    let deliveries: Vec<_> =
        (0..10).map(|n| at_once(transaction.produce(record("y").partition(n % 2))).expect("accepted")).collect();
    transaction.commit().await.expect("a commit does not linger");
    for delivery in deliveries {
        at_once(delivery).expect("delivered");
    }
    let log = broker::read_back(&broker, "t", 2);
    assert_eq!(log.len(), 10);
    assert!(log.iter().all(|logged| logged.text() == "y"));
}

async fn s39_a_fenced_producer_is_fatal(host: Host) {
    for (request, error) in [
        (ApiKey::EndTxn, ErrorCode::ProducerFenced),
        (ApiKey::EndTxn, ErrorCode::InvalidProducerEpoch),
        (ApiKey::AddOffsetsToTxn, ErrorCode::InvalidProducerEpoch),
        (ApiKey::InitProducerId, ErrorCode::TransactionalIdAuthorizationFailed),
    ] {
        let broker = with_source();
        let producer = host.start(builder(&broker));
        broker.request_errors(request, &[error]).expect("errors are set");
        let outcome = async {
            let transaction = producer.begin().await?;
            transaction.send(record("x")).await.expect("delivered");
            transaction.send_offsets([GroupOffset::new("in", 0, 5)], Group::new("g")).await?;
            Ok::<_, TransactionError>(transaction.commit().await?)
        };
        let found = outcome.await.expect_err("fatal");
        assert_eq!(found.remedy(), Remedy::GiveUp, "{request:?} {error:?}: {found:?}");
        assert!(producer.fatal_error().is_some(), "it is known with the error: {found:?}");
        let refused = producer.begin().await.expect_err("nothing goes on");
        assert_eq!(
            (refused.remedy(), refused.code()),
            (Remedy::GiveUp, producer.fatal_error().and_then(|fatal| fatal.code()))
        );
        drop(producer.close(LONG).await);
    }
}

async fn s39_what_leaves_the_abort_is_aborted_and_goes_on(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(builder(&broker));
    // Refused partitions: their records fail.
    let transaction = producer.begin().await.expect("it begins");
    let refused = [ErrorCode::TopicAuthorizationFailed];
    broker.request_errors(ApiKey::AddPartitionsToTxn, &refused).expect("errors are set");
    let delivery = at_once(transaction.produce(record("x"))).expect("accepted");
    let error = transaction.commit().await.expect_err("not authorised");
    assert_eq!(error.remedy(), Remedy::Abort, "{error}");
    assert!(delivery.await.is_err());
    error.into_transaction().expect("to be aborted").abort().await.expect("aborted");
    whole(&producer, "first").await.expect("committed");

    // A refused commit, with a producer id that the coordinator has forgotten (KIP-360).
    for error in [ErrorCode::InvalidProducerIdMapping, ErrorCode::UnknownProducerId] {
        broker.request_errors(ApiKey::EndTxn, &[error]).expect("errors are set");
        let refused = whole(&producer, "lost").await.expect_err("refused");
        assert_eq!((refused.remedy(), refused.code()), (Remedy::Abort, Some(error)), "{refused}");
        // Dropped with its error, and aborted before the next.
        whole(&producer, "next").await.expect("committed");
    }
    assert_eq!(producer.fatal_error(), None);
}

async fn s39_a_commit_that_timed_out_is_resolved(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(builder(&broker).call_timeout(Duration::from_secs(2)));
    whole(&producer, "first").await.expect("committed");
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(record("second")).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_secs(3)).expect("a delay");
    let error = transaction.commit().await.expect_err("no answer in time");
    assert_eq!(error.remedy(), Remedy::Resolve, "{error:?}");
    assert!(matches!(error.error(), TransactionError::Unknown(_)), "{error:?}");
    drop(error);
    assert_eq!(producer.begin().await.expect_err("not silently"), TransactionError::InDoubt);
    broker.round_trip_time(-1, Duration::ZERO).expect("no delay");
    let mut transaction = producer.in_doubt();
    while let Some(again) = transaction.take() {
        if let Err(error) = again.commit().await {
            assert_eq!(error.remedy(), Remedy::Resolve, "{error:?}");
            transaction = error.into_transaction();
        }
    }
    whole(&producer, "third").await.expect("committed");
    assert_eq!(broker::read_back(&broker, "t", 1).len(), 3);
}

/// Some of librdkafka's calls cannot be resumed after a timeout: an old answer may be taken for the next call's.
async fn s39_calls_with_hardly_any_time_are_in_doubt_and_never_refused(host: Host) {
    const ROUNDS: usize = 200;
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(builder(&broker).call_timeout(Duration::from_micros(1)));
    // librdkafka's thread is late.
    let busy = Arc::new(());
    for _ in 0..3 {
        let busy = Arc::downgrade(&busy);
        thread::spawn(move || while busy.strong_count() > 0 {});
    }
    for round in 0..ROUNDS {
        let transaction = loop {
            match producer.begin().await {
                Ok(transaction) => break transaction,
                Err(error) => assert_eq!(error.remedy(), Remedy::Retry, "{round}: {error:?}"),
            }
        };
        transaction.send(record("x")).await.expect("delivered");
        let mut ended = if round % 3 == 2 { transaction.abort().await } else { transaction.commit().await };
        while let Err(error) = ended {
            let again = if round % 3 == 2 { Remedy::Abort } else { Remedy::Resolve };
            assert_eq!(error.remedy(), again, "{round}: {error:?}");
            let transaction = error.into_transaction().expect("to be ended");
            ended = if round % 3 == 2 { transaction.abort().await } else { transaction.commit().await };
        }
    }
    drop(busy);
    assert_eq!(producer.fatal_error(), None);
}

async fn s39_init_that_timed_out_is_resumed(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    broker.broker_down(-1).expect("down");
    let producer = host.start(builder(&broker).call_timeout(Duration::from_millis(300)));
    let error = producer.init_transactions().await.expect_err("no broker is there");
    assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    assert_eq!(producer.begin().await.expect_err("no broker is there").remedy(), Remedy::Retry);
    broker.broker_up(-1).expect("up");
    while let Err(error) = producer.init_transactions().await {
        assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    }
    whole(&producer, "first").await.expect("committed");
}

async fn s25_close_aborts_on_the_broker(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(builder(&broker));
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(record("first")).await.expect("delivered");
    // The abort ends the transaction; without it the coordinator would just wait.
    broker.request_errors(ApiKey::EndTxn, &[ErrorCode::ProducerFenced]).expect("errors are set");
    assert!(producer.close(LONG).await.is_complete());
    assert!(producer.fatal_error().is_some(), "the abort was sent");
    assert!(transaction.commit().await.is_err());
}

async fn s25_close_is_not_held_up_by_a_call(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(builder(&broker));
    whole(&producer, "first").await.expect("committed");
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(record("second")).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_secs(3000)).expect("a delay");
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    drop(producer.close(Duration::from_millis(10)).await);
    assert_eq!(commit.into_future().await.expect_err("the outcome is unknown").remedy(), Remedy::Resolve);
}
