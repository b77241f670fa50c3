//! S23: a flush waits for the records accepted before it.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::FlushError;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure};
use aioproducer_tests::{broker, promises};

promises! {
    s23_flush_waits_for_what_was_accepted_before_and_only_that,
    s23_a_flush_with_a_limit_says_how_many_remain,
    s23_any_number_of_flushes_and_any_of_them_dropped,
    s23_a_flush_ends_the_linger_of_both_layers,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s23_flush_waits_for_what_was_accepted_before_and_only_that(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4).batch_records(1));
    assert!(at_once(producer.flush()).is_ok(), "nothing to wait for");
    let before = [0, 1].map(|n| accepted(&producer, numbered(n)));
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    assert!(script.flushing() && script.flushes() > 0, "the backend is notified");
    let after = [2, 3].map(|n| accepted(&producer, numbered(n)));
    let mut unaccepted = Observed::new(producer.produce(numbered(4)));
    assert!(unaccepted.is_pending());
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.extend(script.accept().await);
    }
    // The later ones are delivered, one of the earlier is not.
    script.deliver([&taken[2], &taken[3], &taken[1]]);
    assert!(flush.is_pending());
    let wakes = flush.wakes();
    script.fail(&taken[0], failure(FailureKind::Broker, Status::NotPersisted));
    assert!(flush.wakes() > wakes);
    flush.ready().expect("a failure is an outcome, too");
    assert!(!script.flushing(), "no flush is left");
    let [first, second] = before;
    assert!(first.await.is_err() && second.await.is_ok());
    drop(after);

    let _late = unaccepted.ready().expect("room");
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending(), "a later flush waits for the later record");
    let rest = script.accept().await;
    script.deliver(&rest);
    flush.ready().expect("flushed");
}

async fn s23_a_flush_with_a_limit_says_how_many_remain(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let deliveries: Vec<_> = (0..5).map(|n| accepted(&producer, numbered(n))).collect();
    let taken = script.accept().await;
    script.deliver(&taken[..2]);
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let _after = accepted(&producer, numbered(5));
    let found = producer.flush().within(Duration::ZERO).await;
    assert_eq!(found, Err(FlushError::Timeout { remaining: 4 }));
    drop(flush);
    let after = script.accept().await;
    script.deliver(&after);
    let found = producer.flush().within(Duration::from_millis(50)).await;
    assert_eq!(found, Err(FlushError::Timeout { remaining: 3 }));
    let text = found.unwrap_err().to_string();
    assert!(text.contains('3'), "{text}");
    assert!(!script.flushing());
    script.deliver(&taken[2..]);
    assert!(producer.flush().within(LONG).await.is_ok());
    for delivery in deliveries {
        delivery.await.expect("a flush that gave up cost nothing");
    }
}

async fn s23_any_number_of_flushes_and_any_of_them_dropped(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let _early = accepted(&producer, numbered(0));
    let mut first: Vec<_> = (0..5).map(|_| Observed::new(producer.flush())).collect();
    assert!(first.iter_mut().all(Observed::is_pending));
    let early = script.accept().await;
    let _late = accepted(&producer, numbered(1));
    let mut second: Vec<_> = (0..5).map(|_| Observed::new(producer.flush())).collect();
    assert!(second.iter_mut().all(Observed::is_pending));
    for flushes in [&mut first, &mut second] {
        drop(flushes.swap_remove(0));
        drop(flushes.remove(1));
    }
    script.deliver(&early);
    for flush in first {
        flush.ready().expect("flushed");
    }
    assert!(second.iter_mut().all(Observed::is_pending));
    let late = script.accept().await;
    script.deliver(&late);
    for flush in second {
        flush.ready().expect("flushed");
    }
    assert!(!script.flushing() && producer.is_empty());
}

/// With lingers of five minutes in both layers. The test passes if the watchdog does not end it.
async fn s23_a_flush_ends_the_linger_of_both_layers(host: Host) {
    // A linger in both layers at once is refused.
    for (ours, librdkafkas) in [(300, "0"), (0, "300000")] {
        flush_ends_linger(&host, Duration::from_secs(ours), librdkafkas).await;
    }
}

async fn flush_ends_linger(host: &Host, ours: Duration, librdkafkas: &str) {
    let broker = broker::start_with_topic("lingering", 2);
    let mut config = broker::config(&broker);
    config.set("linger.ms", librdkafkas).set("message.timeout.ms", "600000");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)).linger(ours));
    for round in 1..=3 {
        for n in 0..10 {
            drop(producer.produce(Record::to("lingering").partition(n % 2).payload("x")).await.expect("accepted"));
        }
        assert!(producer.flush().await.is_ok());
        assert!(producer.is_empty());
        assert_eq!(broker::read_back(&broker, "lingering", 2).len(), round * 10);
    }
    drop(producer.produce(Record::to("lingering").partition(0).payload("x")).await.expect("accepted"));
    assert!(producer.close(LONG).await.is_complete(), "so does close");
    assert_eq!(broker::read_back(&broker, "lingering", 2).len(), 31);
}
