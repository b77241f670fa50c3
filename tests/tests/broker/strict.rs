//! What an idempotent producer writes twice, and that a strict one writes nothing twice. Broker 2 has got a record and its answer is
//! lost. Before that record is sent again, something happens to another partition, on broker 1.
//!
//! The embedded broker does not recognise a batch that is sent again. So what counts is what a Kafka broker would keep: [`kept`].

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, PurgeScope, Record};
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Event, Events, Librdkafka};
use aioproducer_tests::batches::{self, kept};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s17_a_refused_record_has_another_partitions_record_doubled,
    s17_strict_a_refused_record_has_none_doubled,
    s17_a_request_that_follows_a_failed_one_has_another_partitions_record_doubled,
    s17_strict_a_failed_request_has_none_doubled_or_lost,
    s17_strict_lost_connections_have_none_doubled_or_lost,
    s17_strict_answers_that_come_too_late_have_none_doubled_or_lost,
    s17_strict_a_moved_leader_has_none_doubled_or_lost,
    s24_strict_a_purge_leaves_what_librdkafka_has,
    s25_strict_records_without_an_answer_come_back_from_a_close,
}

const TOPIC: &str = "t";

/// Led by broker 1: what happens here has consequences there,
const HERE: i32 = 0;
/// which is led by broker 2.
const THERE: i32 = 1;

/// Longer than a request is on its way.
const MOMENT: Duration = Duration::from_millis(50);

const FOR_EVER: Duration = Duration::from_secs(1_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Idempotent,
    Strict,
}

struct Pair {
    brokers: EmbeddedBroker,
    events: Events,
    producer: AioProducer,
}

impl Pair {
    async fn start(host: &Host, mode: Mode, keys: &[(&str, &str)]) -> Self {
        let brokers = EmbeddedBroker::start_with(2).expect("two brokers");
        brokers.create_topic(TOPIC, 2, 1).expect("a topic");
        for (partition, leader) in [(HERE, 1), (THERE, 2)] {
            brokers.partition_leader(TOPIC, partition, Some(leader)).expect("a leader");
        }
        let mut config = broker::config(&brokers);
        config.set("enable.strict.idempotence", if mode == Mode::Strict { "true" } else { "false" });
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
        for (key, value) in keys {
            config.set(*key, *value);
        }
        let mut backend = Librdkafka::new(config);
        let events = backend.events();
        let producer = host.start(AioProducer::builder(backend));
        for partition in [HERE, THERE] {
            producer.send(Record::to(TOPIC).partition(partition).payload("first")).await.expect("delivered");
        }
        Self { brokers, events, producer }
    }

    async fn produce(&self, partition: i32, payload: &str) -> Delivery {
        self.producer.produce(Record::to(TOPIC).partition(partition).payload(payload)).await.expect("accepted")
    }

    /// A record is in the log of the other broker, its answer is lost, and it cannot be sent again before [`Pair::back`]. On a busy
    /// machine it may be lost itself, or have been answered.
    async fn lose_answer(&self, host: &Host, payload: &str) -> Delivery {
        self.brokers.round_trip_time(2, FOR_EVER).expect("it does not answer");
        let delivery = self.produce(THERE, payload).await;
        host.until(|| self.producer.statistics().handed_off > 0).await;
        host.pause(MOMENT).await;
        self.brokers.broker_down(2).expect("its connections close");
        self.brokers.round_trip_time(2, Duration::ZERO).expect("it answers again");
        delivery
    }

    fn back(&self) {
        self.brokers.broker_up(2).expect("it comes back");
    }

    fn batches(&self, broker: usize, partition: i32) -> Vec<batches::Batch> {
        let servers = self.brokers.bootstrap_servers();
        batches::read(servers.split(',').nth(broker - 1).expect("a broker"), TOPIC, partition)
    }

    /// How often each payload would be in a log that Kafka's broker keeps.
    fn written(&self, leaders: [(usize, i32); 2]) -> BTreeMap<String, usize> {
        let log = broker::read_back(&self.brokers, TOPIC, 2);
        let mut found = BTreeMap::new();
        for (leader, partition) in leaders {
            let batches = self.batches(leader, partition);
            let kept = kept(&batches);
            for batch in batches.iter().filter(|batch| kept.contains(&batch.offset)) {
                let of_batch = batch.offset..batch.offset + i64::from(batch.records);
                let records = log.iter().filter(|it| it.partition == partition && of_batch.contains(&it.offset));
                records.for_each(|record| *found.entry(record.text().to_owned()).or_default() += 1);
            }
        }
        found
    }
}

const LEADERS: [(usize, i32); 2] = [(1, HERE), (2, THERE)];

/// Attempts to have a record doubled.
const ATTEMPTS: usize = 3;

/// The record that the other broker has is in its log once, as nothing is sent any more.
async fn refused(host: &Host, mode: Mode) -> usize {
    let pair = Pair::start(host, mode, &[]).await;
    let lost = pair.lose_answer(host, "lost").await;
    pair.brokers.request_errors(ApiKey::Produce, &[ErrorCode::InvalidRecord]).expect("a fault");
    let refused = pair.produce(HERE, "refused").await.await.expect_err("it is refused");
    assert_eq!((refused.status(), refused.code()), (Status::NotPersisted, Some(ErrorCode::InvalidRecord)));
    if mode == Mode::Idempotent {
        pair.back();
        lost.await.expect("delivered");
        return pair.written(LEADERS)["lost"];
    }
    let error = lost.await.expect_err("the producer has ended");
    assert_eq!((error.kind(), error.status()), (FailureKind::Fatal, Status::PossiblyPersisted), "{error}");
    let fatal = pair.producer.fatal_error().expect("a fatal error");
    assert_eq!(fatal.code(), Some(ErrorCode::LocalGaplessGuarantee), "{fatal}");
    pair.back();
    pair.producer.close(Duration::from_secs(30)).await;
    pair.written(LEADERS).get("lost").copied().unwrap_or(0)
}

async fn s17_a_refused_record_has_another_partitions_record_doubled(host: Host) {
    for _ in 0..ATTEMPTS {
        if refused(&host, Mode::Idempotent).await == 2 {
            return;
        }
    }
    panic!("no record was doubled: strict idempotence is not needed any more");
}

async fn s17_strict_a_refused_record_has_none_doubled(host: Host) {
    assert!(refused(&host, Mode::Strict).await <= 1);
}

/// Two requests are on their way, and the second one fails because of the first.
async fn s17_a_request_that_follows_a_failed_one_has_another_partitions_record_doubled(host: Host) {
    for _ in 0..ATTEMPTS {
        let pair = Pair::start(&host, Mode::Idempotent, &[]).await;
        let lost = pair.lose_answer(&host, "lost").await;
        let errors = [ErrorCode::NotEnoughReplicas, ErrorCode::OutOfOrderSequenceNumber];
        pair.brokers.request_errors(ApiKey::Produce, &errors).expect("faults");
        pair.brokers.round_trip_time(1, 4 * MOMENT).expect("time for the second request");
        let first = pair.produce(HERE, "fails").await;
        host.pause(MOMENT).await;
        let second = pair.produce(HERE, "follows").await;
        for delivery in [first, second] {
            // Both in one request: the numbers seem to be wrong, which is fatal.
            if delivery.await.is_err() {
                continue;
            }
        }
        pair.back();
        if lost.await.is_ok() && pair.written(LEADERS)["lost"] == 2 {
            return;
        }
    }
    panic!("no record was doubled: strict idempotence is not needed any more");
}

/// All were delivered, and would be in Kafka's log once.
fn assert_once(pair: &Pair, leaders: [(usize, i32); 2], payloads: &[&str]) {
    let written = pair.written(leaders);
    for payload in payloads {
        assert_eq!(written.get(*payload), Some(&1), "{payload}: {written:?}");
    }
}

async fn s17_strict_a_failed_request_has_none_doubled_or_lost(host: Host) {
    let pair = Pair::start(&host, Mode::Strict, &[]).await;
    let lost = pair.lose_answer(&host, "lost").await;
    let errors = [ErrorCode::NotEnoughReplicas, ErrorCode::NotLeaderForPartition, ErrorCode::RequestTimedOut];
    pair.brokers.request_errors(ApiKey::Produce, &errors).expect("faults");
    pair.brokers.round_trip_time(1, 2 * MOMENT).expect("time for a second request");
    let first = pair.produce(HERE, "fails").await;
    host.pause(MOMENT).await;
    let second = pair.produce(HERE, "follows").await;
    for delivery in [first, second] {
        delivery.await.expect("delivered");
    }
    pair.back();
    lost.await.expect("delivered");
    assert_once(&pair, LEADERS, &["fails", "follows", "lost"]);
}

async fn s17_strict_lost_connections_have_none_doubled_or_lost(host: Host) {
    let pair = Pair::start(&host, Mode::Strict, &[]).await;
    let payloads = ["0", "1", "2"];
    for payload in payloads {
        let lost = pair.lose_answer(&host, payload).await;
        pair.produce(HERE, &format!("beside {payload}")).await.await.expect("delivered");
        pair.back();
        lost.await.expect("delivered");
    }
    assert_once(&pair, LEADERS, &payloads);
}

async fn s17_strict_answers_that_come_too_late_have_none_doubled_or_lost(host: Host) {
    let mut pair = Pair::start(&host, Mode::Strict, &[("socket.timeout.ms", "200")]).await;
    pair.brokers.round_trip_time(2, FOR_EVER).expect("it does not answer");
    let late = pair.produce(THERE, "late").await;
    let beside = pair.produce(HERE, "beside").await;
    loop {
        let event = pair.events.next().await.expect("the producer has not ended");
        if matches!(&event, Event::Log(line) if line.message.contains("Timed out ProduceRequest in flight")) {
            break;
        }
    }
    pair.brokers.round_trip_time(2, Duration::ZERO).expect("it answers");
    for delivery in [late, beside] {
        delivery.await.expect("delivered");
    }
    assert_once(&pair, LEADERS, &["late", "beside"]);
}

async fn s17_strict_a_moved_leader_has_none_doubled_or_lost(host: Host) {
    let pair = Pair::start(&host, Mode::Strict, &[("topic.metadata.refresh.fast.interval.ms", "20")]).await;
    let lost = pair.lose_answer(&host, "lost").await;
    pair.brokers.partition_leader(TOPIC, THERE, Some(1)).expect("a leader");
    pair.back();
    let after = pair.produce(THERE, "after").await;
    for delivery in [lost, after] {
        delivery.await.expect("delivered");
    }
    assert_once(&pair, [(1, HERE), (1, THERE)], &["lost", "after"]);
}

async fn s24_strict_a_purge_leaves_what_librdkafka_has(host: Host) {
    let pair = Pair::start(&host, Mode::Strict, &[]).await;
    let lost = pair.lose_answer(&host, "lost").await;
    pair.producer.purge(PurgeScope::All).await;
    pair.produce(HERE, "beside").await.await.expect("delivered");
    pair.back();
    lost.await.expect("it was not purged");
    pair.produce(THERE, "after").await.await.expect("its numbers have no gap");
    assert_once(&pair, LEADERS, &["lost", "beside", "after"]);
}

/// librdkafka calls it fatal that it is to give them back. It is not.
async fn s25_strict_records_without_an_answer_come_back_from_a_close(host: Host) {
    let mut pair = Pair::start(&host, Mode::Strict, &[]).await;
    let lost = pair.lose_answer(&host, "lost").await;
    pair.producer.close(Duration::ZERO).await;
    let error = lost.await.expect_err("it was not sent again");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::PossiblyPersisted), "{error}");
    assert_eq!(pair.producer.fatal_error(), None);
    while let Some(event) = pair.events.next().await {
        assert!(!matches!(&event, Event::Error(error) if error.is_fatal()), "{event:?}");
    }
}
