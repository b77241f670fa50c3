//! Beside a leader that does not answer, the others' records are delivered, ten pools of them, while its own are outstanding and
//! its callers wait.

use aioproducer_driver::{AioProducer, Delivery};
use aioproducer_tests::executor::{Host, Joined};
use aioproducer_tests::promises;

use super::{Fault, HEALTHY_PARTITIONS, HURT, HURT_PARTITIONS, POOL, Stream, Streams, Trio, Way, assert_right, end};

promises! {
    isolation_all_partitions_are_served_while_all_leaders_answer,
    isolation_healthy_partitions_go_on_beside_a_silent_leader,
    isolation_healthy_partitions_go_on_beside_a_leader_that_is_down,
    isolation_healthy_keys_go_on_beside_a_silent_leader,
    isolation_healthy_keys_go_on_when_a_leader_falls_silent_under_load,
    isolation_keys_that_share_a_lane_part_when_a_leader_falls_silent,
    isolation_a_healthy_record_has_room_while_callers_of_a_silent_leader_wait,
    isolation_keyless_records_use_all_leaders_that_answer,
    isolation_keyless_records_leave_a_silent_leader_and_return,
    isolation_keyless_records_leave_a_leader_that_is_down_and_return,
}

/// Records to each healthy partition.
const EACH: usize = 10 * POOL / HEALTHY_PARTITIONS.len();

/// Numbers of the healthy streams' records: the others' are below.
const HEALTHY_NUMBERS: u64 = 1_000_000;

/// The scenario without a fault: the tests with one differ only in that.
async fn isolation_all_partitions_are_served_while_all_leaders_answer(host: Host) {
    beside(host, Fault::None, false).await;
}

async fn isolation_healthy_partitions_go_on_beside_a_silent_leader(host: Host) {
    beside(host, Fault::Silent, false).await;
}

async fn isolation_healthy_partitions_go_on_beside_a_leader_that_is_down(host: Host) {
    beside(host, Fault::Down, false).await;
}

async fn isolation_healthy_keys_go_on_beside_a_silent_leader(host: Host) {
    beside(host, Fault::Silent, true).await;
}

/// The hurt leader's callers wait before the others begin.
async fn beside(host: Host, fault: Fault, keyed: bool) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    let [hurt, healthy] = ways(&producer, keyed).await;
    trio.hurt(HURT, fault);
    let hurt = Streams::start(&host, &producer, hurt, 0);
    if fault != Fault::None {
        host.until(|| producer.statistics().waiters == HURT_PARTITIONS.len()).await;
    }
    let mut streams = deliver(&host, &producer, healthy).await;
    is_stalled(&producer, fault);
    trio.heal(HURT, fault);
    hurt.accept(&host, POOL / 2).await;
    streams.extend(hurt.stop().await);
    assert_right(&trio, streams);
}

async fn isolation_healthy_keys_go_on_when_a_leader_falls_silent_under_load(host: Host) {
    under_load(host, POOL).await;
}

/// In a pool of this size, the records of all keys wait together until a partition holds others up.
async fn isolation_keys_that_share_a_lane_part_when_a_leader_falls_silent(host: Host) {
    under_load(host, 16 << 10).await;
}

/// All produce at the time of the fault.
async fn under_load(host: Host, slots: usize) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(2).slots(slots)).await;
    let [hurt, healthy] = ways(&producer, true).await;
    let hurt = Streams::start(&host, &producer, hurt, 0);
    let before = Streams::start(&host, &producer, healthy.clone(), HEALTHY_NUMBERS);
    before.accept(&host, POOL).await;
    trio.hurt(HURT, Fault::Silent);
    before.accept(&host, EACH).await;
    let mut streams = before.stop().await;
    // Callers that wait for the silent leader wait, and no other.
    host.until(|| producer.statistics().waiters == HURT_PARTITIONS.len()).await;
    streams.extend(deliver(&host, &producer, healthy).await);
    // One of them may have got room meanwhile.
    host.until(|| producer.statistics().waiters == HURT_PARTITIONS.len()).await;
    is_stalled(&producer, Fault::Silent);
    trio.heal(HURT, Fault::Silent);
    hurt.accept(&host, POOL / 2).await;
    streams.extend(hurt.stop().await);
    assert_right(&trio, streams);
}

async fn isolation_a_healthy_record_has_room_while_callers_of_a_silent_leader_wait(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    let [hurt, healthy] = ways(&producer, false).await;
    trio.hurt(HURT, Fault::Silent);
    let hurt = Streams::start(&host, &producer, hurt, 0);
    host.until(|| producer.statistics().waiters == HURT_PARTITIONS.len()).await;
    for way in healthy {
        producer.try_produce(way.record()).expect("there is room").await.expect("delivered");
    }
    is_stalled(&producer, Fault::Silent);
    trio.heal(HURT, Fault::Silent);
    assert_right(&trio, hurt.stop().await);
}

/// The scenario without a fault: the tests with one differ only in that.
async fn isolation_keyless_records_use_all_leaders_that_answer(host: Host) {
    keyless_records_leave(host, Fault::None).await;
}

async fn isolation_keyless_records_leave_a_silent_leader_and_return(host: Host) {
    keyless_records_leave(host, Fault::Silent).await;
}

async fn isolation_keyless_records_leave_a_leader_that_is_down_and_return(host: Host) {
    keyless_records_leave(host, Fault::Down).await;
}

/// Ten pools of them are accepted, so at most one pool of them is not delivered.
async fn keyless_records_leave(host: Host, fault: Fault) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    trio.hurt(HURT, fault);
    let deliveries = produce(&host, &producer, Way::Any, 0, 10 * POOL).join().await;
    trio.heal(HURT, fault);
    // Its partitions are used again.
    while !HURT_PARTITIONS.contains(&producer.send(Way::Any.record()).await.expect("delivered").partition()) {}
    // Keyless records have no order to keep.
    let mut streams = Vec::new();
    for (number, delivery) in deliveries {
        streams.push(vec![(number, end(delivery).await)]);
    }
    assert_right(&trio, streams);
}

/// Streams to the hurt leader and to the others.
async fn ways(producer: &AioProducer, keyed: bool) -> [Vec<Way>; 2] {
    if keyed {
        [Way::keys(producer, &HURT_PARTITIONS).await, Way::keys(producer, &HEALTHY_PARTITIONS).await]
    } else {
        [HURT_PARTITIONS.map(Way::Place).into(), HEALTHY_PARTITIONS.map(Way::Place).into()]
    }
}

fn produce(host: &Host, producer: &AioProducer, way: Way, first: u64, count: usize) -> Joined<Vec<(u64, Delivery)>> {
    let producer = producer.clone();
    host.spawn(async move {
        let mut deliveries = Vec::new();
        for number in (first..).take(count) {
            let record = way.record().payload(number.to_string());
            deliveries.push((number, producer.produce(record).await.expect("accepted")));
        }
        deliveries
    })
}

/// Produces to each healthy partition, and waits until all have their end.
async fn deliver(host: &Host, producer: &AioProducer, ways: Vec<Way>) -> Vec<Stream> {
    let first = |stream: u64| 2 * HEALTHY_NUMBERS + stream * EACH as u64;
    let streams = (0..).zip(ways);
    let tasks: Vec<_> = streams.map(|(stream, way)| produce(host, producer, way, first(stream), EACH)).collect();
    let mut streams = Vec::new();
    for task in tasks {
        let mut stream = Vec::new();
        for (number, delivery) in task.join().await {
            stream.push((number, end(delivery).await));
        }
        streams.push(stream);
    }
    streams
}

/// The hurt leader's records are outstanding, and its callers wait.
fn is_stalled(producer: &AioProducer, fault: Fault) {
    let statistics = producer.statistics();
    if fault != Fault::None {
        assert_eq!(statistics.waiters, HURT_PARTITIONS.len(), "{statistics:?}");
        assert!(statistics.in_use > 0 && !producer.is_empty(), "{statistics:?}");
    }
}
