//! S21, S22, S27: the pool, its counters, and its length.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::Observed;
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{NotQueued, Script, failure, texts};

promises! {
    s21_slots_return_on_every_path_and_the_pool_never_grows,
    s21_a_stale_second_report_resolves_no_other_delivery,
    s22_statistics_count,
    s27_len_counts_every_stage,
    s27_len_never_misses_a_record_in_between,
}

async fn s21_slots_return_on_every_path_and_the_pool_never_grows(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(5));
    let rejected = failure(FailureKind::TooLarge, Status::NotPersisted);
    for round in 0..20 {
        let deliveries: Vec<_> = (0..5).map(|n| accepted(&producer, numbered(n))).collect();
        let mut cancelled = Observed::new(producer.produce(numbered(9)));
        assert!(cancelled.is_pending(), "round {round}: the sixth waits");
        assert_eq!((producer.statistics().in_use, producer.statistics().capacity), (5, 5));
        drop(cancelled);
        let hand = script.next().await.expect("a batch");
        let verdict = |at| match at {
            1 => Some(NotQueued::Rejected(rejected)),
            4 => Some(NotQueued::Refused),
            _ => None,
        };
        let taken = hand.settle(verdict);
        script.deliver([&taken[0]]);
        script.fail(&taken[2], failure(FailureKind::Broker, Status::NotPersisted));
        let mut deliveries = deliveries.into_iter();
        drop((deliveries.next(), deliveries.next(), deliveries.next()));
        // A second report of a record whose delivery was dropped.
        drop(deliveries.next());
        script.deliver([&taken[3], &taken[3]]);
        let refused = script.accept().await;
        assert_eq!(texts(&refused), ["4"]);
        script.deliver(&refused);
        deliveries.next().expect("the refused one").await.expect("delivered");
        assert_eq!(producer.statistics().in_use, 0, "round {round}");
    }
    let statistics = producer.statistics();
    assert_eq!((statistics.capacity, statistics.high_water, statistics.acquired), (5, 5, 100));
    let _pending = [accepted(&producer, numbered(0)), accepted(&producer, numbered(1))];
    let _unsettled = script.next().await.expect("a batch");
    drop(producer.close(Duration::ZERO).await);
    assert_eq!((producer.statistics().in_use, producer.statistics().bytes), (0, 0), "close returns them too");
}

async fn s21_a_stale_second_report_resolves_no_other_delivery(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let first = accepted(&producer, numbered(0));
    let taken = script.accept().await;
    script.deliver(&taken);
    first.await.expect("delivered");
    let mut second = Observed::new(accepted(&producer, numbered(1)));
    script.deliver(&taken);
    assert!(second.is_pending(), "in the buffer");
    let next = script.accept().await;
    assert_eq!(next[0].slot.index(), taken[0].slot.index(), "the same slot, used again");
    script.deliver(&taken);
    script.deliver(&taken);
    assert!(second.is_pending(), "handed off");
    assert_eq!((producer.statistics().stale_reports, producer.len()), (3, 1));
    script.deliver(&next);
    second.ready().expect("delivered");
    script.deliver(&next);
    assert_eq!((producer.statistics().stale_reports, producer.len()), (4, 0));
}

async fn s22_statistics_count(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(3).batch_records(2));
    let _deliveries = [0, 1, 2].map(|n| accepted(&producer, Record::to("t").key("key").payload(vec![n; 7])));
    let mut waiting = Observed::new(producer.produce(numbered(3)));
    assert!(waiting.is_pending());
    let taken = script.accept().await;
    let found = producer.statistics();
    assert_eq!((found.capacity, found.in_use, found.high_water, found.bytes), (3, 3, 3, 39));
    assert_eq!((found.buffered, found.handed_off, found.batches, found.waiters), (1, 2, 1, 1));
    assert_eq!((found.acquired, found.stale_reports), (3, 0));
    script.deliver(&taken);
    script.deliver(&taken[..1]);
    let found = producer.statistics();
    assert_eq!((found.in_use, found.high_water, found.bytes, found.handed_off), (1, 3, 13, 0));
    assert_eq!((found.acquired, found.stale_reports, found.batches), (3, 1, 1));
    drop(waiting);
    assert_eq!(producer.statistics().waiters, 0);
}

async fn s27_len_counts_every_stage(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    assert!(producer.is_empty());
    let _deliveries = [0, 1, 2].map(|n| accepted(&producer, numbered(n)));
    assert_eq!(producer.len(), 3, "buffered");
    let hand = script.next().await.expect("a batch");
    assert_eq!(producer.len(), 3, "in a worker's hands");
    let taken = hand.refuse_after(2);
    assert_eq!(producer.len(), 3, "one refused, two in the queue");
    script.deliver(&taken[..1]);
    assert_eq!((producer.len(), producer.is_empty()), (2, false));
    let rest = script.accept().await;
    script.deliver(&taken[1..2]);
    script.deliver(&rest);
    assert_eq!((producer.len(), producer.is_empty()), (0, true));
    let _last = accepted(&producer, numbered(3));
    drop(producer.close(Duration::ZERO).await);
    assert_eq!(producer.len(), 0);
}

async fn s27_len_never_misses_a_record_in_between(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut deliveries: Vec<_> = (0..3).map(|n| accepted(&producer, numbered(n))).collect();
    let done = Arc::new(AtomicBool::new(false));
    let observer = {
        let (producer, done) = (producer.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut looks = 0_u32;
            loop {
                let (len, statistics) = (producer.len(), producer.statistics());
                assert!((3..=4).contains(&len), "{len} records");
                assert_eq!(statistics.buffered + statistics.handed_off, statistics.in_use);
                looks += 1;
                if done.load(Ordering::SeqCst) {
                    return looks;
                }
            }
        })
    };
    // In each round one record is accepted, one is delivered, and the others move between buffer and backend.
    let mut queued: VecDeque<_> = script.next().await.expect("a batch").refuse_after(2).into_iter().take(2).collect();
    for round in 3..2_000 {
        deliveries.push(accepted(&producer, numbered(round)));
        let oldest = queued.pop_front().expect("never empty");
        script.deliver([&oldest]);
        let hand = script.take().expect("there is room again");
        let count = 3 - queued.len() - 1;
        queued.extend(hand.refuse_after(count).into_iter().take(count));
    }
    done.store(true, Ordering::SeqCst);
    assert!(observer.join().expect("it never saw another number") > 0);
    script.serve(&host);
    script.deliver(&queued);
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.expect("delivered").offset(), Some(offset as i64));
    }
    assert!(producer.is_empty());
}
