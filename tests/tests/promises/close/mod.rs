//! S21–S23, S25–S27: the pool, flush, close, and the end without close.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, FlushError, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, Verdict, failure, texts};
use aioproducer_tests::{broker, promises};

mod in_time;

promises! {
    s21_slots_return_on_every_path_and_the_pool_never_grows,
    s21_a_stale_second_report_resolves_nobody_else,
    s22_statistics_count,
    s23_flush_waits_for_what_was_accepted_before_and_only_that,
    s23_a_flush_with_a_limit_says_how_many_remain,
    s23_any_number_of_flushes_and_any_of_them_dropped,
    s23_a_flush_ends_the_linger_of_both_layers,
    s25_close_sends_what_was_accepted_and_a_second_close_is_fine,
    s25_close_gives_back_what_could_not_be_sent,
    s25_a_dropped_close_goes_on_and_any_number_may_wait,
    s25_close_after_loss_of_the_backend_s_records,
    s26_drop_does_not_wait_and_pending_deliveries_fail,
    s26_drop_with_a_flush_elsewhere_waits_for_the_last_handle,
    s27_len_counts_every_stage,
    s27_len_never_misses_a_record_in_between,
}

const LONG: Duration = Duration::from_secs(3600);

fn numbered(number: usize) -> Record<'static> {
    Record::to("t").payload(number.to_string())
}

fn accepted(producer: &AioProducer, record: Record<'static>) -> Delivery {
    at_once(producer.produce(record)).expect("accepted")
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
            1 => Some(Verdict::Rejected(rejected)),
            4 => Some(Verdict::Refused),
            _ => None,
        };
        let taken = hand.settle(verdict);
        script.deliver([&taken[0]]);
        script.fail(&taken[2], failure(FailureKind::Broker, Status::NotPersisted));
        let mut deliveries = deliveries.into_iter();
        drop((deliveries.next(), deliveries.next(), deliveries.next()));
        // A report of a record that nobody waits for, twice.
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

async fn s21_a_stale_second_report_resolves_nobody_else(host: Host) {
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

async fn s23_flush_waits_for_what_was_accepted_before_and_only_that(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4).batch_records(1));
    assert!(at_once(producer.flush()).is_ok(), "nothing to wait for");
    let before = [0, 1].map(|n| accepted(&producer, numbered(n)));
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    assert!(script.flushing() && script.flushes() > 0, "the backend is told");
    let after = [2, 3].map(|n| accepted(&producer, numbered(n)));
    let mut unaccepted = Observed::new(producer.produce(numbered(4)));
    assert!(unaccepted.is_pending());
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.extend(script.accept().await);
    }
    // The later ones are through, and one of the earlier is not.
    script.deliver([&taken[2], &taken[3], &taken[1]]);
    assert!(flush.is_pending());
    let wakes = flush.wakes();
    script.fail(&taken[0], failure(FailureKind::Broker, Status::NotPersisted));
    assert!(flush.wakes() > wakes);
    flush.ready().expect("a failure is an outcome, too");
    assert!(!script.flushing(), "nobody waits any more");
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

/// With lingers of five minutes in both layers, the watchdog is the test.
async fn s23_a_flush_ends_the_linger_of_both_layers(host: Host) {
    // Both at once are refused.
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

async fn s25_close_sends_what_was_accepted_and_a_second_close_is_fine(host: Host) {
    let broker = broker::start_with_topic("closing", 1);
    let builder = AioProducer::builder(broker::backend(&broker)).linger(LONG).delivery_timeout(2 * LONG);
    let producer = host.start(builder);
    let deliveries: Vec<_> =
        (0..100).map(|n| accepted(&producer, Record::to("closing").payload(n.to_string()))).collect();
    let report = producer.close(LONG).await;
    assert!(report.is_complete() && report.unsent().is_empty());
    for delivery in deliveries {
        at_once(delivery).expect("delivered before close returned");
    }
    for _ in 0..3 {
        assert!(producer.clone().close(Duration::ZERO).await.is_complete());
    }
    assert_eq!(broker::read_back(&broker, "closing", 1).len(), 100);
}

async fn s25_close_gives_back_what_could_not_be_sent(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).batch_records(2));
    let mut deliveries: Vec<_> = (0..4).map(|n| accepted(&producer, numbered(n))).collect();
    let done = script.accept().await;
    let held = script.accept().await;
    script.deliver(&done);
    deliveries.extend((4..6).map(|n| accepted(&producer, Record::to("other").payload(n.to_string()))));
    let mut close = Observed::new(producer.close(Duration::from_millis(50)));
    assert!(close.is_pending());
    let report = close.into_future().await;
    assert!(!report.is_complete());
    let mut unsent: Vec<_> = report.into_unsent().into_iter().map(|unsent| (unsent.record, unsent.status)).collect();
    unsent.sort_by_key(|(record, _)| record.get_payload().map(<[u8]>::to_vec));
    let other = |n: usize| Record::to("other").payload(n.to_string());
    let expected = [
        (numbered(2), Status::PossiblyPersisted),
        (numbered(3), Status::PossiblyPersisted),
        (other(4), Status::NotPersisted),
        (other(5), Status::NotPersisted),
    ];
    assert_eq!(unsent, expected);
    let outcomes: Vec<_> = deliveries.into_iter().map(at_once).collect();
    assert!(outcomes[..2].iter().all(Result::is_ok));
    for (outcome, (record, status)) in outcomes.into_iter().skip(2).zip(expected) {
        let error = outcome.expect_err("not sent");
        assert!(matches!(error.kind(), FailureKind::Closed | FailureKind::Purged), "{error}");
        assert_eq!((error.status(), error.into_record()), (status, Some(record)));
    }
    assert!(producer.close(Duration::ZERO).await.is_complete(), "given back once");
    drop(held);
}

async fn s25_a_dropped_close_goes_on_and_any_number_may_wait(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let delivery = accepted(&producer, numbered(0));
    let mut dropped = Observed::new(producer.close(LONG));
    assert!(dropped.is_pending());
    drop(dropped);
    assert!(producer.is_closed());
    let mut waiting = [Observed::new(producer.close(LONG)), Observed::new(producer.close(LONG))];
    assert!(waiting.iter_mut().all(Observed::is_pending));
    let taken = script.accept().await;
    script.deliver(&taken);
    delivery.await.expect("delivered");
    for close in waiting {
        assert!(close.wakes() > 0);
        assert!(close.ready().is_complete());
    }
    assert_eq!(script.shut_downs(), 1);
}

async fn s25_close_after_loss_of_the_backend_s_records(host: Host) {
    let script = Script::new();
    script.stay_up();
    let producer = host.start(AioProducer::builder(script.backend()));
    let lost = accepted(&producer, numbered(0));
    let _taken = script.accept().await;
    let mut close = Observed::new(producer.close(Duration::ZERO));
    assert!(close.is_pending());
    host.until(|| script.shut_downs() == 1).await;
    script.vanish();
    let error = lost.await.expect_err("lost");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::PossiblyPersisted));
    close.into_future().await;
    assert!(producer.is_empty());
}

async fn s26_drop_does_not_wait_and_pending_deliveries_fail(host: Host) {
    let script = Script::new();
    script.stay_up();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(1));
    let mut held = Observed::new(accepted(&producer, numbered(0)));
    let taken = script.accept().await;
    let buffered = accepted(&producer, numbered(1));
    // The backend does not end before it is told to, so a drop that waited would never return.
    drop(producer);
    assert_eq!(script.shut_downs(), 1);
    let error = at_once(buffered).expect_err("never sent");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::NotPersisted));
    assert_eq!(error.into_record(), Some(numbered(1)));
    assert!(held.is_pending(), "the backend still has it");
    script.end();
    let error = held.ready().expect_err("purged");
    assert_eq!((error.status(), error.into_record()), (Status::PossiblyPersisted, Some(numbered(0))));
    assert_eq!(texts(&taken), ["0"]);
}

async fn s26_drop_with_a_flush_elsewhere_waits_for_the_last_handle(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let clone = producer.clone();
    let delivery = accepted(&producer, numbered(0));
    drop(producer);
    assert_eq!(script.shut_downs(), 0, "a clone is a handle");
    let flushed = host.spawn(async move { clone.flush().await });
    let taken = script.accept().await;
    script.deliver(&taken);
    delivery.await.expect("delivered");
    assert!(flushed.join().await.is_ok());
    host.until(|| script.shut_downs() == 1).await;
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
    // Each round, one record comes, one is delivered, and the others go to and fro between buffer and backend.
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
        assert_eq!(delivery.await.expect("delivered").offset(), offset as i64);
    }
    assert!(producer.is_empty());
}
