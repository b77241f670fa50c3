//! Records that are accepted while a worker is awake wait in the inbox. No caller sees a difference.

use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, ProduceError, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::numbered;
use aioproducer_tests::scripted::{Script, texts};

promises! {
    s02_every_slot_is_used_and_not_one_more,
    s02_bytes_count_at_once,
    s18_order_holds_from_one_way_in_to_the_other,
    s12_a_flush_waits_for_all_of_them,
    s17_their_deadlines_are_kept,
    s25_a_close_gives_all_of_them_back,
    s26_a_drop_fails_all_of_them,
}

/// More than fit into the inbox at once.
const MANY: usize = 1500;

fn accepted(producer: &AioProducer, number: usize) -> Delivery {
    at_once(producer.produce(numbered(number))).expect("accepted")
}

/// A producer whose only worker slept until its first record.
fn awakened(host: &Host, script: &Script, slots: usize) -> (AioProducer, Delivery) {
    let builder = AioProducer::builder(script.backend()).slots(slots).batch_records(100);
    let producer = host.start(builder);
    assert!(script.take().is_none(), "the worker falls asleep");
    let wakes = script.wakes();
    let first = accepted(&producer, 0);
    assert_eq!(script.wakes(), wakes + 1);
    (producer, first)
}

async fn s02_every_slot_is_used_and_not_one_more(host: Host) {
    let script = Script::new();
    let (producer, first) = awakened(&host, &script, MANY);
    let others: Vec<_> = (1..MANY).map(|number| accepted(&producer, number)).collect();
    assert_eq!((producer.len(), producer.statistics().in_use), (MANY, MANY));
    assert_eq!(script.wakes(), 1, "it is awake");
    assert!(matches!(producer.try_produce(numbered(MANY)), Err(ProduceError::Full(_))));
    let mut waiting = Observed::new(producer.produce(numbered(MANY)));
    assert!(waiting.is_pending());
    script.deliver(&script.take().expect("a batch").accept()[..1]);
    assert!(at_once(first).is_ok());
    assert!(waiting.ready().is_ok(), "there is room for one");
    assert_eq!(producer.len(), MANY);
    drop(others);
}

async fn s02_bytes_count_at_once(host: Host) {
    let script = Script::with_record_bytes(2000);
    let producer = host.start(AioProducer::builder(script.backend()).pool_bytes(10_000));
    assert!(script.take().is_none());
    let large = || Record::to("t").payload(vec![0; 1000]);
    let held: Vec<_> = (0..10).map(|_| at_once(producer.produce(large())).expect("accepted")).collect();
    assert!(matches!(producer.try_produce(large()), Err(ProduceError::Full(_))));
    assert_eq!(producer.statistics().bytes, 10_000);
    drop(held);
}

async fn s18_order_holds_from_one_way_in_to_the_other(host: Host) {
    let script = Script::new();
    let (producer, _first) = awakened(&host, &script, 2 * MANY);
    let mut held = Vec::new();
    let mut seen = Vec::new();
    for number in 1..MANY {
        held.push(accepted(&producer, number));
        // From time to time the worker empties the inbox and sleeps, so the next record goes the other way in.
        if number % 70 == 0 {
            seen.extend(std::iter::from_fn(|| script.take()).flat_map(|hand| hand.accept()));
        }
    }
    seen.extend(std::iter::from_fn(|| script.take()).flat_map(|hand| hand.accept()));
    let expected: Vec<_> = (0..MANY).map(|number| number.to_string()).collect();
    assert_eq!(texts(&seen), expected);
}

async fn s12_a_flush_waits_for_all_of_them(host: Host) {
    let script = Script::new();
    let (producer, first) = awakened(&host, &script, MANY);
    let last = accepted(&producer, 1);
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let _later = accepted(&producer, 2);
    let taken = script.take().expect("a batch").accept();
    script.deliver(&taken[..1]);
    assert!(flush.is_pending(), "one is left");
    script.deliver(&taken[1..2]);
    assert_eq!(flush.ready(), Ok(()));
    assert!(at_once(first).is_ok() && at_once(last).is_ok(), "after the flush they are ready");
}

async fn s17_their_deadlines_are_kept(host: Host) {
    let script = Script::new();
    let builder = AioProducer::builder(script.backend()).delivery_timeout(Duration::from_millis(50));
    let producer = host.start(builder);
    assert!(script.take().is_none());
    let deliveries: Vec<_> = (0..10).map(|number| accepted(&producer, number)).collect();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let error = delivery.await.expect_err("no worker comes");
        assert_eq!((error.kind(), error.into_record()), (FailureKind::TimedOut, Some(numbered(number))));
    }
    assert!(producer.is_empty());
}

async fn s25_a_close_gives_all_of_them_back(host: Host) {
    let script = Script::new();
    let (producer, _first) = awakened(&host, &script, MANY);
    let _others: Vec<_> = (1..300).map(|number| accepted(&producer, number)).collect();
    let report = producer.close(Duration::ZERO).await;
    let back: Vec<_> = report.unsent().iter().map(|unsent| unsent.record.clone()).collect();
    assert_eq!(back, (0..300).map(numbered).collect::<Vec<_>>());
    assert!(matches!(producer.try_produce(numbered(0)), Err(ProduceError::Closed(_))));
}

async fn s26_a_drop_fails_all_of_them(host: Host) {
    let script = Script::new();
    let (producer, first) = awakened(&host, &script, MANY);
    let others: Vec<_> = (1..300).map(|number| accepted(&producer, number)).collect();
    drop(producer);
    for delivery in std::iter::once(first).chain(others) {
        let error = at_once(delivery).expect_err("never sent");
        assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::NotPersisted));
    }
}
