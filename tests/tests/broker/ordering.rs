//! S18: the log's order is the call order.

use std::collections::{BTreeMap, BTreeSet};

use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Librdkafka};
use aioproducer_tests::broker::Logged;
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s18_order_holds_with_1_worker,
    s18_order_holds_with_2_workers,
    s18_order_holds_with_4_workers,
    s18_order_survives_lost_connections_with_1_worker,
    s18_order_survives_lost_connections_with_2_workers,
    s18_order_survives_lost_connections_with_4_workers,
}

const PARTITIONS: i32 = 4;
const KEYS: usize = 16;
const RECORDS: usize = 3_000;
const SLOTS: usize = 400;

async fn s18_order_holds_with_1_worker(host: Host) {
    order_holds(host, 1, false).await;
}

async fn s18_order_holds_with_2_workers(host: Host) {
    order_holds(host, 2, false).await;
}

async fn s18_order_holds_with_4_workers(host: Host) {
    order_holds(host, 4, false).await;
}

async fn s18_order_survives_lost_connections_with_1_worker(host: Host) {
    order_holds(host, 1, true).await;
}

async fn s18_order_survives_lost_connections_with_2_workers(host: Host) {
    order_holds(host, 2, true).await;
}

async fn s18_order_survives_lost_connections_with_4_workers(host: Host) {
    order_holds(host, 4, true).await;
}

/// Record `n`, with `n` as payload, alternately with a partition and with a key.
fn record(n: usize) -> Record<'static> {
    let record = Record::to(if n.is_multiple_of(2) { "fixed" } else { "keyed" }).payload(n.to_string());
    let record = if n.is_multiple_of(2) { record.partition((n / 2 % 4) as i32) } else { record.key(key(n)) };
    // Some go to librdkafka one by one.
    if n % 10 < 2 { record.header("n", n.to_string()) } else { record }
}

fn key(n: usize) -> String {
    format!("key-{}", n / 2 % KEYS)
}

/// With a full queue, errors as answers, moving leaders, and, if set so, lost connections and brokers that go down and come
/// back.
async fn order_holds(host: Host, workers: usize, broken: bool) {
    let broker = EmbeddedBroker::start_with(2).expect("two brokers");
    for topic in ["fixed", "keyed"] {
        broker.create_topic(topic, PARTITIONS, 2).expect("a topic");
    }
    let mut config = broker::config(&broker);
    config.set("queue.buffering.max.messages", "50");
    // The embedded broker does not look at sequence numbers. It would accept a second request after it failed the first,
    // and the client would conclude that the first one was written.
    config.set("enable.idempotence", "true").set("max.in.flight", "1");
    config.set("retry.backoff.ms", "10").set("retry.backoff.max.ms", "50");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
    config.set("topic.metadata.refresh.fast.interval.ms", "20");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config).workers(workers)).slots(SLOTS));

    let mut deliveries = Vec::new();
    let mut down = false;
    for n in 0..RECORDS {
        match n {
            500 | 2_500 => broker.request_errors(ApiKey::Produce, &ERRORS).expect("errors"),
            1_000 => lead(&broker, 2),
            1_500 if broken => {
                broker.request_errors(ApiKey::Produce, &[ErrorCode::LocalTransport; 2]).expect("errors");
                broker.broker_down(-1).expect("brokers go");
                down = true;
            }
            2_300 => lead(&broker, 1),
            _ => {}
        }
        let delivery = match producer.try_produce(record(n)) {
            Ok(delivery) => delivery,
            Err(ProduceError::Full(record) | ProduceError::PartitionFull { record, .. }) => {
                // The pool filled up while the brokers were down.
                if std::mem::take(&mut down) {
                    broker.broker_up(-1).expect("brokers come back");
                }
                producer.produce(record).await.expect("accepted")
            }
            Err(error) => panic!("{error}"),
        };
        deliveries.push(delivery);
    }
    assert!(!down, "the pool never filled");
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let report = delivery.await.unwrap_or_else(|error| panic!("{n}: {error}"));
        assert_eq!(report.topic(), if n.is_multiple_of(2) { "fixed" } else { "keyed" });
    }

    let mut fixed = BTreeMap::<i32, Vec<usize>>::new();
    for logged in read(&broker, "fixed", broken) {
        fixed.entry(logged.partition).or_default().push(logged.text().parse().unwrap());
    }
    for (partition, found) in fixed {
        let called = (0..RECORDS).step_by(2).filter(|n| (n / 2 % 4) as i32 == partition);
        same(&found, &called.collect::<Vec<_>>(), &format!("partition {partition}"));
    }
    let mut keyed = BTreeMap::<String, (i32, Vec<usize>)>::new();
    for logged in read(&broker, "keyed", broken) {
        let key = String::from_utf8(logged.key.clone().expect("a key")).unwrap();
        let (partition, found) = keyed.entry(key).or_insert((logged.partition, Vec::new()));
        assert_eq!(*partition, logged.partition, "one key, one partition");
        found.push(logged.text().parse().unwrap());
    }
    assert_eq!(keyed.len(), KEYS);
    for (name, (_, found)) in keyed {
        let called = (1..RECORDS).step_by(2).filter(|n| key(*n) == name);
        same(&found, &called.collect::<Vec<_>>(), &name);
    }
}

/// The log. When a connection breaks after a batch was written and before the answer, the client sends the batch again,
/// and a broker drops it for its sequence number. The embedded one does not look at those, so that is done here.
fn read(broker: &EmbeddedBroker, topic: &str, drop_repeats: bool) -> Vec<Logged> {
    let mut log = broker::read_back(broker, topic, PARTITIONS);
    if drop_repeats {
        let mut seen = BTreeSet::new();
        log.retain(|logged| seen.insert(logged.payload.clone()));
    }
    log
}

const ERRORS: [ErrorCode; 4] = [
    ErrorCode::NotLeaderForPartition,
    ErrorCode::RequestTimedOut,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::LeaderNotAvailable,
];

fn lead(broker: &EmbeddedBroker, leader: i32) {
    for topic in ["fixed", "keyed"] {
        for partition in 0..PARTITIONS {
            broker.partition_leader(topic, partition, Some(leader)).expect("a leader");
        }
    }
}

/// Fails at the first difference and shows its neighbours.
fn same(found: &[usize], called: &[usize], place: &str) {
    let at = found.iter().zip(called).take_while(|(found, called)| found == called).count();
    let around = |records: &[usize]| {
        records[at.saturating_sub(5).min(records.len())..].iter().copied().take(60).collect::<Vec<_>>()
    };
    assert!(
        found.len() == called.len() && at == called.len(),
        "{place}: {} records in the log, {} called; from number {at} on\n   log {:?}\ncalled {:?}",
        found.len(),
        called.len(),
        around(found),
        around(called),
    );
}
