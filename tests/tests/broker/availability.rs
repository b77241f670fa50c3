//! Records without a key leave a leader that does not answer, and return to it when it does (KIP-794). Nothing fails by it, and no call
//! waits.

use std::collections::BTreeSet;
use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::at_once;
use aioproducer_tests::{broker, promises};

promises! {
    keyless_records_leave_a_leader_that_is_stopped_and_return_to_it,
    keyless_records_leave_a_leader_that_is_down_and_return_to_it,
}

/// Each broker leads two partitions.
const BROKERS: i32 = 3;
const PARTITIONS: i32 = 6;

/// The leader that does not answer, and its partitions, the first of which has a record.
const LEADER: i32 = 2;
const SILENT: [i32; 2] = [1, 4];

const TIMEOUT: Duration = Duration::from_millis(300);

async fn start(host: &Host) -> (EmbeddedBroker, AioProducer) {
    let broker = EmbeddedBroker::start_with(BROKERS).expect("three brokers");
    broker.create_topic("t", PARTITIONS, 1).expect("a topic");
    for partition in 0..PARTITIONS {
        broker.partition_leader("t", partition, Some(partition % BROKERS + 1)).expect("a leader");
    }
    let mut config = broker::config(&broker);
    config.set("partitioner.availability.timeout.ms", TIMEOUT.as_millis().to_string());
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
    // Each batch goes to another partition than the one before.
    config.set("sticky.partitioning.linger.ms", "0");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    are_used(&producer, 0..PARTITIONS).await;
    (broker, producer)
}

/// Sends records until all these partitions have got one.
async fn are_used(producer: &AioProducer, partitions: impl IntoIterator<Item = i32>) {
    let mut unused: BTreeSet<_> = partitions.into_iter().collect();
    while !unused.is_empty() {
        unused.remove(&place(producer).await);
    }
}

/// Where the next record goes. No other one waits for an answer meanwhile, so no leader that answers is taken for silent.
async fn place(producer: &AioProducer) -> i32 {
    producer.send(Record::to("t").payload("x")).await.expect("delivered").partition()
}

/// The leader does not answer until `back`.
async fn leaves_and_returns(
    host: &Host,
    broker: EmbeddedBroker,
    producer: AioProducer,
    back: impl Fn(&EmbeddedBroker),
) {
    let waiting = at_once(producer.produce(Record::to("t").partition(SILENT[0]).payload("x"))).expect("accepted");
    host.until(|| producer.statistics().handed_off == 1).await;
    host.pause(TIMEOUT).await;
    for _ in 0..50 {
        assert!(!SILENT.contains(&place(&producer).await));
    }
    let accepted = || at_once(producer.produce(Record::to("t").payload("x"))).expect("accepted");
    let burst: Vec<_> = (0..50).map(|_| accepted()).collect();
    back(&broker);
    assert_eq!(waiting.await.expect("it waits for its leader").partition(), SILENT[0]);
    for delivery in burst {
        delivery.await.expect("delivered");
    }
    are_used(&producer, SILENT).await;
}

async fn keyless_records_leave_a_leader_that_is_stopped_and_return_to_it(host: Host) {
    let (broker, producer) = start(&host).await;
    // It takes requests and does not answer.
    broker.round_trip_time(LEADER, Duration::from_secs(3600)).expect("a broker");
    leaves_and_returns(&host, broker, producer, |broker| {
        broker.broker_down(LEADER).expect("its connections are closed");
        broker.round_trip_time(LEADER, Duration::ZERO).expect("a broker");
        broker.broker_up(LEADER).expect("it comes back");
    })
    .await;
}

async fn keyless_records_leave_a_leader_that_is_down_and_return_to_it(host: Host) {
    let (broker, producer) = start(&host).await;
    broker.broker_down(LEADER).expect("it goes");
    leaves_and_returns(&host, broker, producer, |broker| broker.broker_up(LEADER).expect("it comes back")).await;
}
