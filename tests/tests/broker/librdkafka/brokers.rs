//! librdkafka's own tests of brokers that fail, leave and come back, repeated with this producer. `docs/librdkafka-tests.md`
//! lists which test mirrors which.
//!
//! The embedded broker ignores sequence numbers, so a record whose answer got lost may be in its log twice. Where that can
//! happen, the tests drop repeats before they compare, as a real broker does.

use std::collections::BTreeSet;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, Record, SendError};
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::at_once;
use aioproducer_tests::{broker, promises};

promises! {
    s15_a_topic_that_appears_late_gets_its_records_and_one_that_never_does_fails_them,
    s17_an_answer_after_the_timeout_changes_nothing,
    s18_requests_that_fail_are_sent_again_in_order,
    s18_a_storage_error_fails_records_only_when_retries_end,
    s18_a_duplicate_s_answer_counts_as_delivered,
    s18_timeouts_leave_an_idempotent_producer_working,
    s18_a_cluster_that_rolls_loses_nothing_and_keeps_its_order,
    s18_a_leader_that_moves_is_followed,
    s23_records_wait_for_brokers_that_come_later,
    s26_a_producer_ends_in_each_state_that_librdkafka_once_hung_in,
    s28_a_dead_bootstrap_server_among_live_ones_does_no_harm,
}

const LONG: Duration = Duration::from_secs(50);

/// Short delays before reconnects and retries.
const SOON: [(&str, &str); 6] = [
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "50"),
    ("retry.backoff.ms", "10"),
    ("retry.backoff.max.ms", "50"),
    ("topic.metadata.refresh.fast.interval.ms", "20"),
    ("linger.ms", "0"),
];

fn backend(servers: &str, settings: &[(&str, &str)]) -> Librdkafka {
    let mut config = broker::config_for(servers);
    for (key, value) in SOON.iter().chain(settings) {
        config.set(*key, *value);
    }
    Librdkafka::new(config)
}

fn configured(host: &Host, broker: &EmbeddedBroker, settings: &[(&str, &str)]) -> AioProducer {
    host.start(AioProducer::builder(backend(broker.bootstrap_servers(), settings)))
}

fn numbered(topic: &str, number: usize) -> Record<'_> {
    Record::to(topic).partition(0).payload(number.to_string())
}

fn accepted(producer: &AioProducer, topic: &str, numbers: std::ops::Range<usize>) -> Vec<Delivery> {
    numbers.map(|n| at_once(producer.produce(numbered(topic, n))).expect("accepted")).collect()
}

async fn all_delivered(deliveries: Vec<Delivery>) {
    for (n, delivery) in deliveries.into_iter().enumerate() {
        delivery.await.unwrap_or_else(|error| panic!("{n}: {error}"));
    }
}

/// Sends records from `first` on until one is delivered in time. Returns its number, and the numbers of failed records that may
/// have been written. How long librdkafka searches for a broker depends on the machine.
async fn sent_in_time(producer: &AioProducer, topic: &str, first: usize) -> (usize, Vec<usize>) {
    let (mut number, mut unsure) = (first, Vec::new());
    while let Err(error) = producer.send(numbered(topic, number)).await {
        let SendError::Delivery(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), FailureKind::TimedOut, "{error}");
        if error.status() != Status::NotPersisted {
            unsure.push(number);
        }
        number += 1;
    }
    (number, unsure)
}

/// The numbers in partition 0, each at its first place.
fn written(broker: &EmbeddedBroker, topic: &str) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let log = broker::read_back(broker, topic, 1);
    log.iter().map(|logged| logged.text().parse().unwrap()).filter(|number| seen.insert(*number)).collect()
}

/// 0111, 0057: `topic.metadata.propagation.max.ms` is how long a topic may take to appear.
async fn s15_a_topic_that_appears_late_gets_its_records_and_one_that_never_does_fails_them(host: Host) {
    let broker = broker::start_with_topic("known", 1);
    let unknown = ErrorCode::UnknownTopicOrPart;
    for topic in ["late", "never"] {
        broker.topic_error(topic, unknown).expect("a topic that is not there");
    }
    let patient = configured(&host, &broker, &[("topic.metadata.propagation.max.ms", "600000")]);
    let late = accepted(&patient, "late", 0..10);
    patient.send(numbered("known", 0)).await.expect("others are not held up");
    assert_eq!(patient.len(), 10);
    broker.topic_error("late", ErrorCode::NoError).expect("it appears");
    all_delivered(late).await;
    assert_eq!(written(&broker, "late"), (0..10).collect::<Vec<_>>());

    let hasty = configured(&host, &broker, &[("topic.metadata.propagation.max.ms", "1")]);
    for (n, delivery) in accepted(&hasty, "never", 0..3).into_iter().enumerate() {
        let error = delivery.await.expect_err("there is no such topic");
        assert_eq!((error.kind(), error.status()), (FailureKind::UnknownTopic, Status::NotPersisted));
        assert_eq!(error.into_record(), Some(numbered("never", n).into_owned()));
    }
    hasty.send(numbered("known", 1)).await.expect("others are not harmed");
    assert_eq!(written(&broker, "known"), [0, 1]);
}

/// 0068.
async fn s17_an_answer_after_the_timeout_changes_nothing(host: Host) {
    let broker = broker::start_with_topic("slow", 1);
    let servers = broker.bootstrap_servers();
    let builder = AioProducer::builder(backend(servers, &[("enable.idempotence", "false")]));
    let producer = host.start(builder.delivery_timeout(Duration::from_secs(1)));
    let (first, unsure) = sent_in_time(&producer, "slow", 0).await;
    broker.round_trip_time(-1, Duration::from_secs(3)).expect("a delay");
    let late = first + 1;
    let error = producer.send(numbered("slow", late)).await.expect_err("too late");
    assert_eq!(error.kind(), Some(FailureKind::TimedOut), "{error}");
    assert_eq!(error.status(), Status::PossiblyPersisted);
    // A copy was kept if nothing was heard of the broker for a while.
    let back = error.into_record();
    assert!(back.is_none_or(|back| back == numbered("slow", late).into_owned()));
    broker.round_trip_time(-1, Duration::ZERO).expect("no delay");
    // The answer to the late one comes before the answer to a record after it, on the same connection, or never.
    let (last, _) = sent_in_time(&producer, "slow", late + 1).await;
    host.until(|| (producer.len(), producer.statistics().in_use) == (0, 0)).await;
    let found = written(&broker, "slow");
    assert_eq!(found.iter().find(|number| !unsure.contains(number)), Some(&first), "{found:?}");
    assert_eq!(found.last(), Some(&last));
    assert!(found.is_sorted(), "{found:?}");
}

/// 0075, 0076: errors that a broker answers with, and connections that end before it does.
async fn s18_requests_that_fail_are_sent_again_in_order(host: Host) {
    let broker = broker::start_with_topic("again", 1);
    let producer = configured(&host, &broker, &[("max.in.flight", "1"), ("enable.idempotence", "true")]);
    let troubles = [
        ErrorCode::InvalidMsg,
        ErrorCode::LocalTransport,
        ErrorCode::NotLeaderForPartition,
        ErrorCode::RequestTimedOut,
    ];
    let mut deliveries = Vec::new();
    for (round, trouble) in troubles.into_iter().enumerate() {
        broker.request_errors(ApiKey::Produce, &[trouble; 2]).expect("errors");
        deliveries.extend(accepted(&producer, "again", round * 50..(round + 1) * 50));
        assert!(producer.flush().within(LONG).await.is_ok(), "{trouble:?}");
    }
    all_delivered(deliveries).await;
    assert_eq!(written(&broker, "again"), (0..200).collect::<Vec<_>>());
}

/// 0117.
async fn s18_a_storage_error_fails_records_only_when_retries_end(host: Host) {
    let broker = broker::start_with_topic("stored", 1);
    let trouble = ErrorCode::KafkaStorageError;
    for (retries, fails) in [("10", false), ("1", true)] {
        let producer = configured(&host, &broker, &[("retries", retries)]);
        broker.request_errors(ApiKey::Produce, &[trouble; 3]).expect("errors");
        match producer.send(numbered("stored", 0)).await {
            Ok(_) => assert!(!fails),
            Err(error) => {
                assert!(fails, "{error}");
                assert_eq!(error.kind(), Some(FailureKind::Broker), "{error}");
                assert_eq!(error.into_record(), Some(numbered("stored", 0).into_owned()));
            }
        }
        assert!(producer.is_empty());
        // With too few retries the third error is still to come.
        producer.send(numbered("stored", 1)).await.expect("delivered");
    }
}

/// 0090, 0144: the broker answers that it already has the records.
async fn s18_a_duplicate_s_answer_counts_as_delivered(host: Host) {
    let broker = broker::start_with_topic("twice", 1);
    let producer = configured(&host, &broker, &[("enable.idempotence", "true"), ("batch.num.messages", "1")]);
    producer.send(numbered("twice", 0)).await.expect("delivered");
    let answers = [ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::DuplicateSequenceNumber];
    broker.request_errors(ApiKey::Produce, &answers).expect("answers");
    producer.send(numbered("twice", 1)).await.expect("it was written the first time");
    producer.send(numbered("twice", 2)).await.expect("and nothing is out of step");
    assert!(!producer.is_closed(), "no fatal error");
    assert_eq!(written(&broker, "twice").last(), Some(&2));
}

/// 0094.
async fn s18_timeouts_leave_an_idempotent_producer_working(host: Host) {
    let broker = broker::start_with_topic("timed", 1);
    let servers = broker.bootstrap_servers();
    let builder = AioProducer::builder(backend(servers, &[("enable.idempotence", "true")]));
    let producer = host.start(builder.delivery_timeout(Duration::from_secs(1)));
    let (first, mut unsure) = sent_in_time(&producer, "timed", 0).await;
    let mut expected = vec![first];
    for round in 1..=2 {
        broker.broker_down(-1).expect("it goes");
        let numbers = round * 1000..round * 1000 + 20;
        for (number, delivery) in numbers.clone().zip(accepted(&producer, "timed", numbers)) {
            let error = delivery.await.expect_err("no broker is there");
            assert_eq!(error.kind(), FailureKind::TimedOut, "{error}");
            if error.status() != Status::NotPersisted {
                unsure.push(number);
            }
        }
        broker.broker_up(-1).expect("it comes back");
        let (number, more) = sent_in_time(&producer, "timed", round * 1000 + 50).await;
        expected.push(number);
        unsure.extend(more);
        assert!(!producer.is_closed(), "no fatal error");
    }
    let found = written(&broker, "timed");
    assert!(found.is_sorted(), "{found:?}");
    let sure: Vec<_> = found.into_iter().filter(|number| !unsure.contains(number)).collect();
    assert_eq!(sure, expected, "unsure: {unsure:?}");
}

/// 0151: each broker goes down once while records are produced.
async fn s18_a_cluster_that_rolls_loses_nothing_and_keeps_its_order(host: Host) {
    let broker = EmbeddedBroker::start_with(3).expect("three brokers");
    broker.create_topic("rolling", 1, 3).expect("a topic");
    let producer = configured(&host, &broker, &[("max.in.flight", "1"), ("enable.idempotence", "true")]);
    let mut deliveries = accepted(&producer, "rolling", 0..20);
    for down in 1..=3 {
        broker.partition_leader("rolling", 0, Some(down)).expect("a leader");
        deliveries.extend(accepted(&producer, "rolling", deliveries.len()..deliveries.len() + 20));
        broker.broker_down(down).expect("it goes");
        deliveries.extend(accepted(&producer, "rolling", deliveries.len()..deliveries.len() + 20));
        broker.partition_leader("rolling", 0, Some(down % 3 + 1)).expect("another leader");
        assert!(producer.flush().within(LONG).await.is_ok(), "without broker {down}");
        broker.broker_up(down).expect("it comes back");
    }
    let count = deliveries.len();
    all_delivered(deliveries).await;
    assert_eq!(written(&broker, "rolling"), (0..count).collect::<Vec<_>>());
}

/// 0146.
async fn s18_a_leader_that_moves_is_followed(host: Host) {
    let broker = EmbeddedBroker::start_with(2).expect("two brokers");
    broker.create_topic("moving", 1, 2).expect("a topic");
    let producer = configured(&host, &broker, &[]);
    let mut deliveries = Vec::new();
    for (round, leader) in [1, 2, 1, 2, 1].into_iter().enumerate() {
        broker.partition_leader("moving", 0, Some(leader)).expect("a leader");
        deliveries.extend(accepted(&producer, "moving", round * 10..(round + 1) * 10));
        assert!(producer.flush().within(LONG).await.is_ok(), "to broker {leader}");
    }
    all_delivered(deliveries).await;
    assert_eq!(written(&broker, "moving"), (0..50).collect::<Vec<_>>());
}

/// 0043, 0088, 0095, 0152: no broker at the start, and again none later.
async fn s23_records_wait_for_brokers_that_come_later(host: Host) {
    let broker = broker::start_with_topic("later", 1);
    broker.broker_down(-1).expect("it goes down");
    let producer = configured(&host, &broker, &[("max.in.flight", "1")]);
    let mut deliveries = accepted(&producer, "later", 0..100);
    let found = producer.flush().within(Duration::from_millis(100)).await;
    assert!(found.is_err(), "no broker has written them");
    broker.broker_up(-1).expect("it comes");
    assert!(producer.flush().within(LONG).await.is_ok());
    broker.broker_down(-1).expect("it goes");
    deliveries.extend(accepted(&producer, "later", 100..200));
    assert_eq!(producer.len(), 100);
    broker.broker_up(-1).expect("it comes back");
    assert!(producer.flush().within(LONG).await.is_ok());
    all_delivered(deliveries).await;
    assert_eq!(written(&broker, "later"), (0..200).collect::<Vec<_>>());
}

/// 0020, 0037, 0084, 0021: the test passes if nothing hangs. `threads.rs` shows that threads end, too.
async fn s26_a_producer_ends_in_each_state_that_librdkafka_once_hung_in(host: Host) {
    let broker = broker::start_with_topic("ending", 1);
    let live = broker.bootstrap_servers().to_owned();
    let dead = broker::closed_port();
    for servers in [&live, &dead] {
        for closes in [false, true] {
            for state in ["untouched", "a topic named", "queued", "unknown partition", "lingering"] {
                let linger = if state == "lingering" { "300000" } else { "0" };
                let settings = [("linger.ms", linger), ("message.timeout.ms", "600000")];
                let producer = host.start(AioProducer::builder(backend(servers, &settings)));
                let mut deliveries = Vec::new();
                match state {
                    "a topic named" => drop(producer.topic("ending").expect("a name")),
                    "queued" | "lingering" => deliveries = accepted(&producer, "ending", 0..10),
                    "unknown partition" => {
                        let record = Record::to("ending").partition(77).payload("x");
                        deliveries.push(at_once(producer.produce(record)).expect("accepted"));
                    }
                    _ => {}
                }
                if closes {
                    drop(producer.close(Duration::ZERO).await);
                    assert_eq!(producer.len(), 0, "{state}");
                }
                drop(producer);
                for delivery in deliveries {
                    // Delivered or failed: both are an outcome.
                    drop(delivery.await);
                }
            }
        }
    }
}

/// 0152, 0049: the first address leads nowhere.
async fn s28_a_dead_bootstrap_server_among_live_ones_does_no_harm(host: Host) {
    let broker = broker::start_with_topic("found", 1);
    let servers = format!("{},{}", broker::closed_port(), broker.bootstrap_servers());
    let producer = host.start(AioProducer::builder(backend(&servers, &[])));
    all_delivered(accepted(&producer, "found", 0..20)).await;
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(written(&broker, "found"), (0..20).collect::<Vec<_>>());
}
