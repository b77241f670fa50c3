//! S28: what ends a whole pool does so in chunks, and no other task waits for all of it.
//!
//! All work under one lock is done before the next waker runs. So a waker sees how much work is left.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, PurgeScope, Record};
use aioproducer_tests::executor::{Host, OwnExecutor, run, watched};
use aioproducer_tests::probe::{Observed, poll_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure};

promises! {
    s28_a_fatal_error_ends_a_full_pool_in_pieces,
    s28_a_backend_that_vanishes_ends_a_full_pool_in_pieces,
    s12_flushes_of_many_topics_and_partitions_end_with_their_records,
    s26_dropping_the_last_handle_ends_a_full_pool_in_pieces,
    s24_a_purge_beside_batches_that_are_out_takes_what_is_buffered,
    s34_a_flush_that_is_over_is_not_waited_for,
}

const SLOTS: usize = 2_000;

/// The most records that end under one lock, or in one poll.
const PIECE: usize = 64;

/// Notes how many records are left when it is woken.
struct Witness {
    producer: OnceLock<AioProducer>,
    left: AtomicUsize,
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        let left = self.producer.get().map_or(0, AioProducer::len);
        self.left.store(left, Ordering::SeqCst);
    }
}

/// Polls the first of `deliveries` with a witness.
fn watch(producer: &AioProducer, delivery: &mut Delivery) -> Arc<Witness> {
    let witness = Arc::new(Witness { producer: OnceLock::new(), left: AtomicUsize::new(usize::MAX) });
    assert!(witness.producer.set(producer.clone()).is_ok());
    let waker = Waker::from(Arc::clone(&witness));
    assert!(std::pin::Pin::new(delivery).poll(&mut Context::from_waker(&waker)).is_pending());
    witness
}

fn full(host: &Host, script: &Script) -> (AioProducer, Vec<Delivery>) {
    let producer = host.start(AioProducer::builder(script.backend()).slots(SLOTS));
    let deliveries = (0..SLOTS).map(|number| accepted(&producer, numbered(number))).collect();
    (producer, deliveries)
}

/// Ends a full pool by `end`, and sees how many records are left when the task of the first is notified.
///
/// The driver task ends records at the same time. It may be ahead when the witness looks, but not each time.
async fn ends_in_pieces(host: &Host, end: impl Fn(&Script), expected: (FailureKind, Status)) {
    for attempt in 0.. {
        let script = Script::new();
        // The end of the backend would end the records as well.
        script.stay_up();
        let (producer, mut deliveries) = full(host, &script);
        if expected.1 == Status::PossiblyPersisted {
            while let Some(hand) = script.take() {
                drop(hand.accept());
            }
        }
        let witness = watch(&producer, &mut deliveries[0]);
        end(&script);
        let left = witness.left.load(Ordering::SeqCst);
        for delivery in deliveries {
            let error = delivery.await.expect_err("the pool is ended");
            assert_eq!((error.kind(), error.status()), expected);
        }
        script.end();
        if (SLOTS - PIECE..SLOTS).contains(&left) {
            return;
        }
        assert!(attempt < 50, "{left} records were left when the first task was notified");
    }
}

async fn s28_a_fatal_error_ends_a_full_pool_in_pieces(host: Host) {
    let fatal = |script: &Script| script.fatal(failure(FailureKind::Fatal, Status::NotPersisted));
    ends_in_pieces(&host, fatal, (FailureKind::Fatal, Status::NotPersisted)).await;
}

async fn s28_a_backend_that_vanishes_ends_a_full_pool_in_pieces(host: Host) {
    let expected = (FailureKind::Closed, Status::PossiblyPersisted);
    ends_in_pieces(&host, Script::vanish, expected).await;
}

async fn s12_flushes_of_many_topics_and_partitions_end_with_their_records(host: Host) {
    let script = Script::new();
    let timeout = Duration::from_millis(100);
    let builder = AioProducer::builder(script.backend()).slots(SLOTS).linger(timeout / 2);
    let producer = host.start(builder.delivery_timeout(timeout));
    let topic = |number: usize| format!("t{}", number % 50);
    let record = |number: usize| Record::to(topic(number)).partition((number / 50) as i32 % 2);
    let deliveries: Vec<_> = (0..SLOTS).map(|number| accepted(&producer, record(number))).collect();
    let flushes = (0..200).map(|number| match number / 50 {
        0 | 1 => producer.flush().topic(topic(number)),
        half => producer.flush().partition(topic(number), half as i32 - 2),
    });
    let mut flushes: Vec<_> = flushes.map(Observed::new).collect();
    assert!(flushes.iter_mut().all(Observed::is_pending));
    for delivery in deliveries {
        assert_eq!(delivery.await.expect_err("no worker takes it").kind(), FailureKind::TimedOut);
    }
    for flush in flushes {
        flush.into_future().await.expect("all have failed");
    }
    assert!(producer.is_empty());
}

async fn s26_dropping_the_last_handle_ends_a_full_pool_in_pieces(host: Host) {
    let script = Script::new();
    script.stay_up();
    let (producer, deliveries) = full(&host, &script);
    drop(producer);
    // The driver task does the rest; the drop did not wait for it.
    for delivery in deliveries {
        let error = delivery.await.expect_err("never sent");
        assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::NotPersisted));
    }
    assert_eq!(script.shut_downs(), 1);
    script.end();
}

#[test]
fn s26_a_dropped_full_pool_is_the_driver_tasks_work_own_executor() {
    watched(|| {
        run::<OwnExecutor, _>(|host| async move {
            let script = Script::new();
            script.stay_up();
            let (producer, deliveries) = full(&host, &script);
            drop(producer);
            let mut polled: Vec<_> = deliveries.into_iter().map(Box::pin).collect();
            let notified =
                polled.iter_mut().filter_map(|delivery| poll_once(delivery).is_ready().then_some(())).count();
            assert!(notified <= PIECE, "{notified} of {SLOTS} were ended by the thread that dropped the handle");
            script.end();
        });
    });
}

async fn s24_a_purge_beside_batches_that_are_out_takes_what_is_buffered(host: Host) {
    let script = Script::new();
    let builder = AioProducer::builder(script.backend()).slots(SLOTS).lanes(500).batch_records(1);
    let producer = host.start(builder);
    let record = |lane: usize, number: usize| numbered(number).partition(lane as i32);
    let first: Vec<_> = (0..500).map(|lane| accepted(&producer, record(lane, 0))).collect();
    let hands: Vec<_> = (0..500).map(|_| script.take().expect("a batch of each lane")).collect();
    let second: Vec<_> = (0..500).map(|lane| accepted(&producer, record(lane, 1))).collect();
    let purged = host.spawn({
        let producer = producer.clone();
        async move { producer.purge(PurgeScope::Queued).await }
    });
    for delivery in second {
        assert_eq!(delivery.await.expect_err("purged").kind(), FailureKind::Purged);
    }
    purged.join().await;
    for hand in hands {
        script.deliver(&hand.accept());
    }
    for delivery in first {
        assert!(delivery.await.is_ok());
    }
}

async fn s34_a_flush_that_is_over_is_not_waited_for(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let delivery = accepted(&producer, numbered(0));
    let mut flush = Observed::new(producer.flush());
    let mut of_topic = Observed::new(producer.flush().topic("t"));
    assert!(flush.is_pending() && of_topic.is_pending() && script.flushing());
    script.deliver(&script.accept().await);
    assert!(delivery.await.is_ok());
    // Their futures are not polled, as in a `select!`.
    assert!(!script.flushing(), "the backend would cut its linger without need");
    assert!(flush.ready().is_ok() && of_topic.ready().is_ok());
}
