//! The order of each key while a leader goes and comes back, and what is in the log.

use std::time::Duration;

use aioproducer_driver::Record;
use aioproducer_driver::error::FailureKind;
use aioproducer_tests::executor::Host;
use aioproducer_tests::promises;

use super::{Fault, HURT, HURT_PARTITIONS, PARTITIONS, POOL, Streams, TOPIC, Trio, Way, assert_right};

promises! {
    isolation_order_holds_over_a_silent_leader_with_1_worker,
    isolation_order_holds_over_a_silent_leader_with_4_workers,
    isolation_order_holds_over_a_leader_that_is_down_with_1_worker,
    isolation_order_holds_over_a_leader_that_is_down_with_4_workers,
    isolation_order_holds_with_leaders_of_different_speed,
    isolation_each_delivery_of_timed_out_windows_is_in_the_log,
}

async fn isolation_order_holds_over_a_silent_leader_with_1_worker(host: Host) {
    order_holds(host, Fault::Silent, 1).await;
}

async fn isolation_order_holds_over_a_silent_leader_with_4_workers(host: Host) {
    order_holds(host, Fault::Silent, 4).await;
}

async fn isolation_order_holds_over_a_leader_that_is_down_with_1_worker(host: Host) {
    order_holds(host, Fault::Down, 1).await;
}

async fn isolation_order_holds_over_a_leader_that_is_down_with_4_workers(host: Host) {
    order_holds(host, Fault::Down, 4).await;
}

/// Keyed records for all partitions while a leader goes, until callers wait for room, and after it is back.
async fn order_holds(host: Host, fault: Fault, workers: usize) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(workers)).await;
    let keys = Way::keys(&producer, &[0, 1, 2, 3, 4, 5, 0, 1]).await;
    let streams = Streams::start(&host, &producer, keys, 0);
    streams.accept(&host, 200).await;
    trio.hurt(HURT, fault);
    host.until(|| producer.statistics().waiters >= HURT_PARTITIONS.len()).await;
    trio.heal(HURT, fault);
    streams.accept(&host, POOL / 2).await;
    let streams = streams.stop().await;
    assert_right(&trio, streams);
}

async fn isolation_order_holds_with_leaders_of_different_speed(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(2)).await;
    for (broker, delay) in [(1, 1), (2, 10), (3, 200)] {
        trio.brokers.round_trip_time(broker, Duration::from_millis(delay)).expect("slow");
    }
    let keys = Way::keys(&producer, &[0, 1, 2, 3, 4, 5]).await;
    let streams = Streams::start(&host, &producer, keys, 0);
    streams.accept(&host, POOL / 4).await;
    let streams = streams.stop().await;
    assert_right(&trio, streams);
}

/// Each broker in turn falls silent or goes down for longer than the delivery timeout.
async fn isolation_each_delivery_of_timed_out_windows_is_in_the_log(host: Host) {
    let trio = Trio::start();
    let builder = trio.builder(1).delivery_timeout(Duration::from_secs(1));
    let producer = trio.producer(&host, builder).await;
    let ways = (0..PARTITIONS).map(Way::Place).collect();
    let streams = Streams::start(&host, &producer, ways, 0);
    for (broker, fault) in [(1, Fault::Silent), (2, Fault::Down), (3, Fault::Silent), (1, Fault::Down)] {
        streams.accept(&host, 200).await;
        trio.hurt(broker, fault);
        // It holds back records until their time is over, wherever they are.
        let error = producer.send(Record::to(TOPIC).partition(broker - 1)).await.expect_err("no answer comes");
        // It has none if the record waited for room.
        assert!(error.kind().is_none_or(|kind| kind == FailureKind::TimedOut), "{error}");
        trio.heal(broker, fault);
    }
    streams.accept(&host, POOL / 2).await;
    let verdict = trio.check(streams.stop().await);
    assert!(verdict.is_right() && verdict.counts().delivered > 0, "{verdict}");
}
