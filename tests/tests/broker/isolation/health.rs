//! What `health` says of leaders, while they answer and while one does not.

use std::time::Duration;

use aioproducer_driver::{AioProducer, LeaderHealth, Record};
use aioproducer_rdkafka::{ApiKey, ErrorCode, Librdkafka};
use aioproducer_tests::cluster::BROKERS;
use aioproducer_tests::executor::Host;
use aioproducer_tests::promises;

use super::{Fault, HURT, HURT_PARTITIONS, PARTITIONS, TOPIC, Trio};

promises! {
    health_shows_each_leader_and_that_all_is_delivered,
    health_shows_a_silent_leader_until_it_answers_again,
    health_shows_a_leader_that_is_down_until_it_answers_again,
    health_counts_what_waits_for_a_leader,
    health_counts_bytes_of_a_shared_lane_apart,
    s35_a_producer_is_ready_when_each_leader_answers,
    s35_a_producer_is_not_ready_while_a_leader_writes_no_records,
}

/// Partitions of each broker.
const EACH: usize = (PARTITIONS / BROKERS) as usize;

fn leader(producer: &AioProducer, broker: i32) -> LeaderHealth {
    let health = producer.health();
    health.leaders.into_iter().find(|leader| leader.broker == Some(broker)).expect("it has answered")
}

async fn health_shows_each_leader_and_that_all_is_delivered(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    producer.flush().await.expect("delivered");
    host.until(|| producer.health().leaders.iter().all(|leader| leader.in_flight == 0)).await;
    let health = producer.health();
    assert_eq!((health.is_connected, health.oldest, health.anywhere), (Some(true), None, 0));
    let brokers: Vec<_> = health.leaders.iter().map(|leader| (leader.broker, leader.partitions)).collect();
    assert_eq!(brokers, [1, 2, 3].map(|broker| (Some(broker), EACH)));
    for leader in &health.leaders {
        assert!(leader.answered.is_some() && leader.unanswered_for.is_none() && leader.oldest_waiting.is_none());
    }
    assert_eq!(health.unavailable().count(), 0);
}

async fn health_shows_a_silent_leader_until_it_answers_again(host: Host) {
    shows(host, Fault::Silent).await;
}

async fn health_shows_a_leader_that_is_down_until_it_answers_again(host: Host) {
    shows(host, Fault::Down).await;
}

async fn shows(host: Host, fault: Fault) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    trio.hurt(HURT, fault);
    let [first, _] = HURT_PARTITIONS;
    let delivery = producer.produce(Record::to(TOPIC).partition(first)).await.expect("accepted");
    host.until(|| leader(&producer, HURT).is_unavailable).await;
    let (health, hurt) = (producer.health(), leader(&producer, HURT));
    assert_eq!(hurt.in_flight + hurt.waiting, 1, "{hurt:?}");
    assert!(hurt.unanswered_for > Some(Duration::ZERO) && health.oldest >= hurt.oldest_waiting, "{health:?}");
    let unavailable: Vec<_> = health.unavailable().map(|leader| leader.broker).collect();
    assert_eq!(unavailable, [Some(HURT)], "{health:?}");
    trio.heal(HURT, fault);
    delivery.await.expect("delivered");
    host.until(|| !leader(&producer, HURT).is_unavailable).await;
    assert_eq!(producer.health().oldest, None);
}

/// Of a burst to a leader that does not answer, the backend has a window, and the rest waits.
async fn health_counts_what_waits_for_a_leader(host: Host) {
    const RECORDS: usize = 500;
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    trio.hurt(HURT, Fault::Silent);
    let mut deliveries = Vec::new();
    for _ in 0..RECORDS {
        let record = Record::to(TOPIC).partition(HURT_PARTITIONS[0]).payload("0123456789");
        deliveries.push(producer.produce(record).await.expect("accepted"));
    }
    let all = |hurt: &LeaderHealth| hurt.in_flight + hurt.waiting;
    host.until(|| all(&leader(&producer, HURT)) == RECORDS && leader(&producer, HURT).in_flight >= 256).await;
    let hurt = leader(&producer, HURT);
    assert_eq!(hurt.bytes, producer.statistics().bytes, "all of them are its own");
    assert!(hurt.waiting > 0 && hurt.oldest_waiting.is_some(), "{hurt:?}");
    trio.heal(HURT, Fault::Silent);
    for delivery in deliveries {
        delivery.await.expect("delivered");
    }
}

async fn health_counts_bytes_of_a_shared_lane_apart(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    (1..=BROKERS).for_each(|broker| trio.hurt(broker, Fault::Silent));
    let delivery = producer.produce(Record::to(TOPIC).payload("0123456789")).await.expect("accepted");
    let health = producer.health();
    assert_eq!((health.anywhere, health.anywhere_bytes), (1, producer.statistics().bytes));
    assert!(health.leaders.iter().all(|leader| leader.bytes == 0), "{health:?}");
    (1..=BROKERS).for_each(|broker| trio.heal(broker, Fault::Silent));
    delivery.await.expect("delivered");
    host.until(|| producer.health().anywhere_bytes == 0).await;
}

/// How long a call may take that has to fail.
const SOON: Duration = Duration::from_millis(500);

async fn s35_a_producer_is_ready_when_each_leader_answers(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1).call_timeout(SOON)).await;
    trio.hurt(HURT, Fault::Silent);
    let error = producer.ready([TOPIC]).await.expect_err("one leader does not answer");
    assert!(error.is_retriable() && error.reason().contains("not ready after"), "{error:?}");
    (1..=BROKERS).for_each(|broker| trio.hurt(broker, Fault::Silent));
    let error = producer.ready([TOPIC]).await.expect_err("no leader answers");
    assert!(error.is_retriable() && error.reason().contains("no broker has answered in time"), "{error:?}");
    (1..=BROKERS).for_each(|broker| trio.heal(broker, Fault::Silent));
    while producer.ready([TOPIC]).await.is_err() {}
}

/// It answers all other requests.
async fn s35_a_producer_is_not_ready_while_a_leader_writes_no_records(host: Host) {
    let trio = Trio::start();
    let mut config = trio.config();
    config.set("partitioner.availability.timeout.ms", "200");
    let builder = AioProducer::builder(Librdkafka::new(config)).call_timeout(SOON);
    let producer = trio.producer(&host, builder).await;
    let errors = [ErrorCode::NotEnoughReplicas; 10_000];
    trio.brokers.request_errors(ApiKey::Produce, &errors).expect("no record is written");
    let delivery = producer.produce(Record::to(TOPIC).partition(HURT_PARTITIONS[0])).await.expect("accepted");
    host.until(|| leader(&producer, HURT).is_unavailable).await;
    let error = producer.ready([TOPIC]).await.expect_err("it writes no records");
    let silent = format!("partition {} of `{TOPIC}` is passed over: 1 records", HURT_PARTITIONS[0]);
    assert!(error.is_retriable() && error.reason().contains(&silent), "{error:?}");
    trio.brokers.clear_request_errors(ApiKey::Produce).expect("it does again");
    delivery.await.expect("delivered");
    while producer.ready([TOPIC]).await.is_err() {}
}
