//! Who may use how much of the pool, and in which turn.

use std::time::Duration;

use aioproducer_tests::executor::Host;
use aioproducer_tests::promises;

use super::{Fault, HURT, HURT_PARTITIONS, POOL, Streams, Trio, Way, assert_right, end};

promises! {
    isolation_a_leader_that_is_alone_and_answers_uses_the_whole_pool,
    isolation_callers_of_a_leader_wait_in_turn,
}

/// Its two partitions leave each other, and those of other leaders, a share of the pool.
async fn isolation_a_leader_that_is_alone_and_answers_uses_the_whole_pool(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    trio.brokers.round_trip_time(HURT, Duration::from_millis(50)).expect("slow");
    let streams = Streams::start(&host, &producer, HURT_PARTITIONS.map(Way::Place).into(), 0);
    host.until(|| producer.statistics().high_water >= POOL - POOL / 16).await;
    assert_right(&trio, streams.stop().await);
}

/// The log has their order.
async fn isolation_callers_of_a_leader_wait_in_turn(host: Host) {
    const CALLERS: usize = 20;
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    trio.hurt(HURT, Fault::Silent);
    let [place, _] = HURT_PARTITIONS.map(Way::Place);
    let mut number = 0;
    let mut record = || {
        number += 1;
        (number, place.record().payload(number.to_string()).into_owned())
    };
    let mut deliveries = Vec::new();
    loop {
        let (number, record) = record();
        match producer.try_produce(record) {
            Ok(delivery) => deliveries.push((number, delivery)),
            Err(_) => break,
        }
    }
    let mut callers = Vec::new();
    for waiting in 1..=CALLERS {
        let (number, record) = record();
        let caller = producer.clone();
        callers.push(host.spawn(async move { (number, caller.produce(record).await.expect("accepted")) }));
        host.until(|| producer.statistics().waiters == waiting).await;
    }
    trio.heal(HURT, Fault::Silent);
    for caller in callers {
        deliveries.push(caller.join().await);
    }
    let mut stream = Vec::new();
    for (number, delivery) in deliveries {
        stream.push((number, end(delivery).await));
    }
    assert_right(&trio, vec![stream]);
}
