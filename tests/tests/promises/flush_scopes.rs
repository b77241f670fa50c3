//! S12, S23: a flush of one topic or partition.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::FlushError;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{NotQueued, Script, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s12_a_topic_is_flushed_alone,
    s23_a_flush_of_a_partition_waits_for_what_may_go_there,
    s23_a_flush_of_a_topic_counts_failures_and_has_a_limit,
    s23_a_flush_of_an_unknown_topic_has_nothing_to_wait_for,
    s23_flushes_of_a_scope_under_load,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s12_a_topic_is_flushed_alone(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let wanted = accepted(&producer, Record::to("a").payload("0"));
    let other = accepted(&producer, Record::to("b").payload("1"));
    let mut flush = Observed::new(producer.flush().topic("a"));
    assert!(flush.is_pending());
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["0"]);
    assert!(script.take().is_none(), "the other topic lingers");
    script.deliver(&taken);
    assert!(flush.wakes() > 0 && flush.ready().is_ok());
    assert!(wanted.await.is_ok() && other.retract().is_ok());
}

async fn s23_a_flush_of_a_partition_waits_for_what_may_go_there(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let topic = producer.topic("t").expect("a name");
    for (number, partition) in [(0, Some(3)), (1, None), (2, Some(4))] {
        let record = numbered(number);
        drop(accepted(&producer, partition.map_or(record.clone(), |partition| record.partition(partition))));
    }
    let mut flush = Observed::new(producer.flush().partition(&topic, 3));
    assert!(flush.is_pending());
    let mut taken = script.accept().await;
    taken.extend(script.accept().await);
    taken.sort_by_key(|record| record.slot.index());
    assert_eq!(texts(&taken), ["0", "1"]);
    script.deliver(&taken[..1]);
    assert!(flush.is_pending());
    drop(accepted(&producer, numbered(3).partition(3)));
    script.deliver(&taken[1..]);
    assert!(flush.ready().is_ok(), "what came later is not waited for");
    assert_eq!(producer.len(), 2);
}

async fn s23_a_flush_of_a_topic_counts_failures_and_has_a_limit(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    for number in 0..4 {
        drop(accepted(&producer, numbered(number)));
    }
    let mut flush = Observed::new(producer.flush().topic("t"));
    assert!(flush.is_pending());
    let rejected = failure(FailureKind::TooLarge, Status::NotPersisted);
    let taken = script.next().await.expect("a batch").settle(|at| (at == 2).then_some(NotQueued::Rejected(rejected)));
    script.fail(&taken[0], failure(FailureKind::Broker, Status::PossiblyPersisted));
    let limited = producer.flush().topic("t").within(Duration::from_millis(5)).await;
    assert_eq!(limited, Err(FlushError::Timeout { remaining: 2 }));
    script.deliver(&taken[1..2]);
    assert!(flush.is_pending());
    script.deliver(&taken[3..]);
    assert!(flush.ready().is_ok());
}

async fn s23_a_flush_of_an_unknown_topic_has_nothing_to_wait_for(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let delivery = accepted(&producer, numbered(0));
    assert!(at_once(producer.flush().topic("never seen")).is_ok());
    assert!(at_once(producer.flush().partition("t2", 0)).is_ok());
    assert!(delivery.retract().is_ok());
}

async fn s23_flushes_of_a_scope_under_load(host: Host) {
    let broker = broker::start_with_topic("a", 2);
    broker.create_topic("b", 2, 1).expect("a topic");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(500));
    let load = {
        let producer = producer.clone();
        host.spawn(async move {
            for number in 0..3000 {
                let topic = if number % 3 == 0 { "a" } else { "b" };
                drop(producer.produce(Record::to(topic).payload("load")).await.expect("accepted"));
            }
        })
    };
    for round in 0..30 {
        let record = Record::to("a").partition(round % 2).payload("flushed");
        let mut delivery = Observed::new(producer.produce(record).await.expect("accepted"));
        if round % 3 == 0 {
            producer.flush().partition("a", round % 2).await.expect("flushed");
        } else {
            producer.flush().topic("a").await.expect("flushed");
        }
        assert!(delivery.poll().is_ready(), "round {round}: it was accepted before");
    }
    load.join().await;
    producer.close(LONG).await;
}
