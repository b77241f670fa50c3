//! S29, S31: the same behaviour on every executor, the runtime's clock, and runtimes that end first.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::FlushError;
use aioproducer_driver::runtime::{Instant, Task};
use aioproducer_driver::{AioProducer, Delivery, ProduceError, Record, Runtime};
use aioproducer_tests::executor::{Executor, Host, OwnExecutor, TokioCurrent, TokioMulti, watched};
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, texts};
use aioproducer_tests::{broker, promises};
use aioproducer_tokio::Tokio;
use smol::future::block_on;
use tokio::time;

promises! {
    s29_the_whole_way_works_on_every_executor,
    s31_a_runtime_that_drops_the_driver_ends_the_producer,
}

const LONG: Duration = Duration::from_secs(36_000);

fn accepted(producer: &AioProducer, text: &str) -> Delivery {
    at_once(producer.produce(Record::to("t").payload(text.to_owned()))).expect("accepted")
}

async fn s29_the_whole_way_works_on_every_executor(host: Host) {
    let broker = broker::start_with_topic("way", 2);
    let builder = AioProducer::builder(broker::backend(&broker)).linger(Duration::from_millis(5));
    let producer = host.start(builder);
    // Linger ends by the runtime's timer alone.
    let report = producer.send(Record::to("way").key("k").payload("v")).await.expect("delivered");
    assert_eq!((report.topic(), report.offset()), ("way", Some(0)));
    let all = producer.produce_all((0..10).map(|n| Record::to("way").payload(n.to_string()))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(producer.close(Duration::from_secs(50)).await.is_complete());
    assert_eq!(broker::read_back(&broker, "way", 2).len(), 11);
}

/// Runs `test` on tokio with a paused clock.
fn paused<F: Future<Output = ()>>(test: impl FnOnce(Tokio) -> F + Send + 'static) {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async { test(Tokio::current().expect("a runtime")).await });
    });
}

/// Lets the driver task run.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

async fn advance(by: Duration) {
    time::advance(by).await;
    settle().await;
}

#[test]
fn s17_the_wait_for_room_is_part_of_a_record_s_own_time() {
    paused(|tokio| async {
        let script = Script::new();
        let producer = AioProducer::builder(script.backend()).slots(1).start(tokio).expect("started");
        let held = accepted(&producer, "held");
        let own = Duration::from_secs(20);
        let mut waiting = Observed::new(producer.produce(Record::to("t").payload("late").timeout(own)));
        assert!(waiting.is_pending());
        advance(Duration::from_secs(15)).await;
        script.deliver(&script.accept().await);
        assert!(held.await.is_ok());
        let mut late = Observed::new(waiting.ready().expect("there is room now"));
        settle().await;
        advance(Duration::from_millis(4_998)).await;
        assert!(late.is_pending(), "two milliseconds are left");
        advance(Duration::from_millis(3)).await;
        let error = late.ready().expect_err("15 of its 20 seconds were over when it found room");
        assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted));
    });
}

#[test]
fn s29_under_paused_time_linger_ends_to_the_millisecond() {
    paused(|tokio| async {
        let script = Script::new();
        let builder = AioProducer::builder(script.backend()).linger(Duration::from_secs(3600));
        let producer = builder.delivery_timeout(LONG).start(tokio).expect("started");
        assert!(script.take().is_none());
        let _first = accepted(&producer, "first");
        settle().await;
        for _ in 0..35 {
            advance(Duration::from_secs(100)).await;
            drop(accepted(&producer, "later"));
        }
        let wakes = script.wakes();
        advance(Duration::from_millis(99_999)).await;
        assert_eq!(script.wakes(), wakes);
        assert!(script.take().is_none(), "a millisecond is left");
        let wakes = script.wakes();
        advance(Duration::from_millis(1)).await;
        assert_eq!(script.wakes(), wakes + 1, "35 later records postponed nothing");
        let hand = script.take().expect("the linger is over");
        assert_eq!((hand.records()[0].text(), hand.batch().len()), ("first", 36));
    });
}

#[test]
fn s29_under_paused_time_delivery_times_out_to_the_millisecond() {
    paused(|tokio| async {
        let script = Script::new();
        let timeout = Duration::from_secs(120);
        let producer = AioProducer::builder(script.backend()).delivery_timeout(timeout).start(tokio).expect("started");
        let mut first = Observed::new(accepted(&producer, "first"));
        settle().await;
        advance(Duration::from_secs(60)).await;
        let mut second = Observed::new(accepted(&producer, "second"));
        advance(Duration::from_millis(59_999)).await;
        assert!(first.is_pending());
        advance(Duration::from_millis(1)).await;
        let error = first.ready().expect_err("its time is over");
        assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted));
        assert_eq!(error.into_record(), Some(Record::to("t").payload("first")));
        assert!(second.is_pending());
        // Without other work the clock advances to the next deadline by itself.
        let before = time::Instant::now();
        let error = second.into_future().await.expect_err("its time is over");
        assert_eq!((error.kind(), before.elapsed()), (FailureKind::TimedOut, Duration::from_secs(60)));
    });
}

#[test]
fn s17_under_paused_time_a_record_of_which_the_backend_says_nothing_ends() {
    paused(|tokio| async {
        let script = Script::new();
        let timeout = Duration::from_secs(120);
        let builder = AioProducer::builder(script.backend()).slots(2).delivery_timeout(timeout);
        let producer = builder.start(tokio).expect("started");
        let mut lost = Observed::new(accepted(&producer, "lost"));
        let taken = script.accept().await;
        let kept = Observed::new(accepted(&producer, "kept"));
        script.deliver(&script.accept().await);
        assert!(kept.ready().is_ok());
        settle().await;
        advance(Duration::from_millis(119_999)).await;
        assert!(lost.is_pending());
        advance(Duration::from_millis(1)).await;
        let error = lost.ready().expect_err("no report came");
        assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::PossiblyPersisted));
        assert_eq!(
            error.into_record(),
            Some(Record::to("t").payload("lost")),
            "the backend has it, and this is a copy"
        );
        let statistics = producer.statistics();
        assert_eq!((statistics.in_use, statistics.overdue, statistics.handed_off), (1, 0, 1));
        advance(Duration::from_secs(60)).await;
        assert!(producer.is_empty() && producer.flush().within(Duration::ZERO).await.is_ok());
        let statistics = producer.statistics();
        assert_eq!((statistics.in_use, statistics.overdue, statistics.handed_off), (1, 1, 0));

        // The other slot works, and this one works again once the backend releases the record.
        let other = Observed::new(accepted(&producer, "other"));
        script.deliver(&script.accept().await);
        assert!(other.ready().is_ok());
        script.deliver(&taken);
        let statistics = producer.statistics();
        assert_eq!((statistics.in_use, statistics.overdue, statistics.stale_reports), (0, 0, 0));
        assert!(producer.close(Duration::from_secs(9)).await.is_complete());
    });
}

#[test]
fn s17_under_paused_time_what_the_backend_keeps_does_not_hold_up_close_or_lose_a_copy() {
    paused(|tokio| async {
        let script = Script::new();
        let timeout = Duration::from_secs(20);
        let producer = AioProducer::builder(script.backend()).delivery_timeout(timeout).start(tokio).expect("started");
        // The record's own timeout is longer than the producer's, so it never passes.
        let record = Record::to("t").payload("copied").timeout(Duration::from_secs(3600));
        let delivery = producer.try_produce(record.clone()).expect("room");
        drop(script.accept().await);
        let start = time::Instant::now();
        let report = producer.close(Duration::from_secs(3600)).await;
        assert_eq!((report.is_complete(), start.elapsed()), (true, timeout));
        let error = delivery.await.expect_err("no report came");
        assert_eq!((error.status(), error.into_record()), (Status::PossiblyPersisted, Some(record)));
    });
}

#[test]
fn s29_under_paused_time_flush_and_close_keep_their_limits() {
    paused(|tokio| async {
        let script = Script::new();
        let producer = AioProducer::builder(script.backend()).start(tokio).expect("started");
        let delivery = accepted(&producer, "held");
        let taken = script.accept().await;
        let start = time::Instant::now();
        let flushed = producer.flush().within(Duration::from_secs(7)).await;
        assert_eq!((flushed, start.elapsed()), (Err(FlushError::Timeout { remaining: 1 }), Duration::from_secs(7)));
        let start = time::Instant::now();
        let report = producer.close(Duration::from_secs(9)).await;
        assert_eq!((report.unsent().len(), start.elapsed()), (1, Duration::from_secs(9)));
        assert!(delivery.await.is_err());
        assert_eq!(texts(&taken), ["held"]);
    });
}

/// A runtime that ends while a producer starts: it keeps the first task and drops the others.
#[derive(Default)]
struct Ending(Mutex<Option<Task>>);

impl Runtime for Ending {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _at: Instant) -> Task {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: Task) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = Some(task);
        }
    }
}

async fn s31_a_runtime_that_drops_the_driver_ends_the_producer(_host: Host) {
    let script = Script::new();
    let producer = AioProducer::builder(script.backend()).start(Ending::default()).expect("started");
    assert!(producer.is_closed());
    match producer.produce(Record::to("t").payload("x")).await {
        Err(ProduceError::RuntimeEnded(record)) => assert_eq!(record, Record::to("t").payload("x")),
        other => panic!("{other:?}"),
    }
    assert!(producer.flush().await.is_ok());
    producer.close(LONG).await;
    // The same with threads and a broker.
    let broker = broker::start();
    let producer = AioProducer::builder(broker::backend(&broker)).start(Ending::default()).expect("started");
    assert!(producer.try_produce(Record::to("t").payload("x")).is_err());
    producer.close(LONG).await;
}

/// After its executor is dropped, deliveries end and calls return.
fn executor_dropped<E: Executor>() {
    watched(|| {
        let script = Script::new();
        let executor = E::new();
        let builder = AioProducer::builder(script.backend()).linger(LONG).delivery_timeout(2 * LONG).batch_records(2);
        let producer = executor.host().start(builder.slots(3));
        let (held, buffered, taken) = executor.block_on(async {
            let held = [accepted(&producer, "0"), accepted(&producer, "1")];
            let taken = script.accept().await;
            (held, accepted(&producer, "2"), taken)
        });
        let mut waiting = Observed::new(producer.produce(Record::to("t").payload("3")));
        assert!(waiting.is_pending());
        drop(executor);
        let error = block_on(buffered).expect_err("it will never be sent");
        assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::NotPersisted));
        assert_eq!(error.into_record(), Some(Record::to("t").payload("2")));
        for delivery in held {
            assert_eq!(block_on(delivery).expect_err("purged").status(), Status::PossiblyPersisted);
        }
        assert!(waiting.wakes() > 0);
        assert!(matches!(waiting.ready(), Err(ProduceError::RuntimeEnded(_))));
        assert!(matches!(block_on(producer.produce(Record::to("t"))), Err(ProduceError::RuntimeEnded(_))));
        assert!(block_on(producer.flush()).is_ok());
        block_on(producer.close(LONG));
        assert!(producer.is_empty());
        assert_eq!((script.shut_downs(), taken.len()), (1, 2));
    });
}

/// The same with librdkafka, without a broker, and with records in all stages.
fn executor_dropped_under_load<E: Executor>() {
    watched(|| {
        let executor = E::new();
        let producer = executor.host().start(AioProducer::builder(broker::unreachable()).slots(1_000));
        let deliveries: Vec<_> = (0..1_000).map(|n| accepted(&producer, &n.to_string())).collect();
        drop(executor);
        for delivery in deliveries {
            let error = block_on(delivery).expect_err("no broker is there");
            assert!(matches!(error.kind(), FailureKind::Closed | FailureKind::Purged), "{error}");
            assert!(error.into_record().is_some());
        }
        block_on(producer.close(LONG));
        assert!(producer.is_empty());
    });
}

/// Calls that need a timer of an ended runtime while the backend still holds records.
fn limits_after_the_executor<E: Executor>() {
    watched(|| {
        let script = Script::new();
        script.stay_up();
        let executor = E::new();
        let producer = executor.host().start(AioProducer::builder(script.backend()));
        let held = accepted(&producer, "0");
        let taken = block_on(script.accept());
        drop(executor);
        let mut flush = Observed::new(producer.flush().within(LONG));
        let mut close = Observed::new(producer.close(LONG));
        assert!(flush.is_pending() && close.is_pending());
        script.end();
        assert!(flush.ready().is_ok());
        drop(close.ready());
        assert!(block_on(held).is_err());
        assert_eq!(texts(&taken), ["0"]);
    });
}

#[test]
fn s31_a_dropped_executor_tokio_multi() {
    executor_dropped::<TokioMulti>();
}

#[test]
fn s31_a_dropped_executor_tokio_current() {
    executor_dropped::<TokioCurrent>();
}

#[test]
fn s31_a_dropped_executor_under_load_tokio_multi() {
    executor_dropped_under_load::<TokioMulti>();
}

#[test]
fn s31_a_dropped_executor_under_load_tokio_current() {
    executor_dropped_under_load::<TokioCurrent>();
}

#[test]
fn s31_limits_after_the_executor_tokio_multi() {
    limits_after_the_executor::<TokioMulti>();
}

#[test]
fn s31_limits_after_the_executor_tokio_current() {
    limits_after_the_executor::<TokioCurrent>();
}

#[test]
fn s31_limits_after_the_executor_own_executor() {
    limits_after_the_executor::<OwnExecutor>();
}
