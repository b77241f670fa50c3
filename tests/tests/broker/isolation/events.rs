//! Events about leaders that do not answer: one for each partition when it is passed over, one when it is answered again.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{Availability, Event, Events, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::promises;

use super::{Fault, HURT, HURT_PARTITIONS, PARTITIONS, POOL, Streams, TOPIC, Trio, Way, assert_right};

promises! {
    s34_each_partition_of_a_leader_that_falls_silent_is_an_event_and_so_is_its_return,
    s34_each_partition_of_a_leader_that_goes_down_is_an_event_and_so_is_its_return,
    s34_a_partition_without_records_is_an_event_with_its_leader,
    s34_a_calm_cluster_has_no_event_about_leaders,
}

/// An answer takes that long on a machine that is very busy, but for those of the leader that is hurt.
const TIMEOUT: Duration = Duration::from_secs(3);

/// No answer takes that long.
const LONG: Duration = Duration::from_secs(50);

fn backend(trio: &Trio, timeout: Duration) -> (Librdkafka, Events) {
    let mut config = trio.config();
    config.set("partitioner.availability.timeout.ms", timeout.as_millis().to_string());
    let mut backend = Librdkafka::new(config);
    let events = backend.events_with_capacity(100_000);
    (backend, events)
}

/// The events about partitions until there is one for each of the hurt ones, with `is_available`.
async fn of_hurt(events: &mut Events, is_available: bool) -> BTreeMap<i32, Availability> {
    let mut found = BTreeMap::new();
    while found.len() < HURT_PARTITIONS.len() {
        let event = events.next().await.expect("the producer has not ended");
        if let Event::Availability(it) = event
            && HURT_PARTITIONS.contains(&it.partition)
        {
            assert_eq!((it.topic.as_str(), it.leader, it.is_available), (TOPIC, Some(HURT), is_available), "{it:?}");
            let before = found.insert(it.partition, it);
            assert_eq!(before, None, "once for each partition");
        }
    }
    found
}

/// The events about partitions until the producer's end.
async fn rest(producer: AioProducer, events: &mut Events) -> Vec<Availability> {
    producer.close(Duration::from_secs(60)).await;
    let mut found = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Availability(it) = event {
            found.push(it);
        }
    }
    found
}

async fn s34_each_partition_of_a_leader_that_falls_silent_is_an_event_and_so_is_its_return(host: Host) {
    under_load(host, Fault::Silent).await;
}

async fn s34_each_partition_of_a_leader_that_goes_down_is_an_event_and_so_is_its_return(host: Host) {
    under_load(host, Fault::Down).await;
}

async fn under_load(host: Host, fault: Fault) {
    let trio = Trio::start();
    let (backend, mut events) = backend(&trio, TIMEOUT);
    let producer = trio.producer(&host, AioProducer::builder(backend).slots(POOL)).await;
    let ways = (0..PARTITIONS).map(Way::Place).collect();
    let streams = Streams::start(&host, &producer, ways, 0);
    trio.hurt(HURT, fault);
    for it in of_hurt(&mut events, false).await.into_values() {
        assert!(it.time >= TIMEOUT && it.records > 0, "{it:?}");
    }
    trio.heal(HURT, fault);
    of_hurt(&mut events, true).await;
    assert_right(&trio, streams.stop().await);
    // A machine that stands still for a while lets a partition fall silent.
    let mut is_available = [true; PARTITIONS as usize];
    for it in rest(producer, &mut events).await {
        let before = std::mem::replace(&mut is_available[it.partition as usize], it.is_available);
        assert_ne!(before, it.is_available, "once for each change: {it:?}");
    }
}

/// Nothing else happens in the producer meanwhile.
async fn s34_a_partition_without_records_is_an_event_with_its_leader(host: Host) {
    let trio = Trio::start();
    let (backend, mut events) = backend(&trio, Duration::from_millis(300));
    let producer = trio.producer(&host, AioProducer::builder(backend)).await;
    trio.hurt(HURT, Fault::Silent);
    let delivery = producer.produce(Record::to(TOPIC).partition(HURT_PARTITIONS[0])).await.expect("accepted");
    let found = of_hurt(&mut events, false).await;
    assert_eq!(HURT_PARTITIONS.map(|partition| found[&partition].records), [1, 0]);
    trio.heal(HURT, Fault::Silent);
    delivery.await.expect("delivered");
    of_hurt(&mut events, true).await;
    assert_eq!(rest(producer, &mut events).await, [], "nothing else was sent");
}

async fn s34_a_calm_cluster_has_no_event_about_leaders(host: Host) {
    let trio = Trio::start();
    let (backend, mut events) = backend(&trio, LONG);
    let producer = trio.producer(&host, AioProducer::builder(backend).slots(POOL)).await;
    let streams = Streams::start(&host, &producer, (0..PARTITIONS).map(Way::Place).collect(), 0);
    streams.accept(&host, 2_000).await;
    assert_right(&trio, streams.stop().await);
    assert_eq!(rest(producer, &mut events).await, []);
}
