//! S20–S22: callbacks.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, DeliveryError, DeliveryReport, FlushError, Overflow, ProduceError, Record};
use aioproducer_tests::executor::{Host, TokioMulti, run};
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, Verdict, failure};
use aioproducer_tests::{broker, promises};

promises! {
    s20_called_once_for_each_outcome,
    s20_in_order_within_a_partition,
    s20_a_slow_one_holds_up_its_own_partition_only,
    s20_a_panic_is_contained_and_counted,
    s20_never_on_a_thread_of_the_backend,
    s20_a_callback_may_produce_flush_and_drop_the_producer,
    s20_a_callback_that_produces_with_a_callback_finds_a_place,
    s20_callbacks_that_are_behind_slow_down_who_produces,
    s20_a_refused_record_s_callback_is_not_called,
    s02_a_full_pool_of_records_with_callbacks_does_as_it_is_told,
    s21_callbacks_return_their_places_on_every_path,
    s22_a_callback_that_stalls_is_counted,
    s23_after_a_flush_of_callbacks_all_have_run,
    s23_a_flush_of_callbacks_waits_for_those_before_it_and_has_a_limit,
    s23_a_flush_of_callbacks_does_not_wait_for_one_that_came_later_in_the_line,
    s23_a_flush_of_callbacks_fails_inside_of_one,
    s25_close_waits_for_callbacks_until_its_deadline,
    s25_close_inside_a_callback_does_not_wait_for_itself,
    s25_close_after_a_fatal_error_waits_for_callbacks,
    s10_who_waits_for_a_callback_s_place_hears_of_the_close,
    s26_dropped_producers_call_back_what_was_accepted,
}

type Outcome = Result<DeliveryReport, DeliveryError>;

fn numbered(number: usize) -> Record<'static> {
    Record::to("t").partition(0).payload(number.to_string())
}

/// A record's number, and its offset or why it failed.
type Called = (usize, Result<i64, FailureKind>);

/// What callbacks have been called with, in the order of the calls.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Called>>>);

impl Calls {
    fn note(&self, number: usize, outcome: &Outcome) {
        let outcome = outcome.as_ref().map(DeliveryReport::offset).map_err(DeliveryError::kind);
        self.0.lock().expect("calls").push((number, outcome));
    }

    fn callback(&self, number: usize) -> impl FnOnce(Outcome) + Send + 'static {
        let calls = self.clone();
        move |outcome| calls.note(number, &outcome)
    }

    fn all(&self) -> Vec<Called> {
        self.0.lock().expect("calls").clone()
    }

    fn len(&self) -> usize {
        self.all().len()
    }
}

async fn s20_called_once_for_each_outcome(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let calls = Calls::default();
    for number in 0..3 {
        at_once(producer.produce_with(numbered(number), calls.callback(number))).expect("accepted");
    }
    let asynchronous = calls.clone();
    let callback = move |outcome: Outcome| async move { asynchronous.note(3, &outcome) };
    at_once(producer.produce_with_async(numbered(3), callback)).expect("accepted");
    producer.try_produce_with(numbered(4), calls.callback(4)).expect("accepted");
    let rejected = failure(FailureKind::TooLarge, Status::NotPersisted);
    let taken = script.next().await.expect("a batch").settle(|at| (at == 1).then_some(Verdict::Rejected(rejected)));
    host.until(|| calls.len() == 1).await;
    script.fail(&taken[2], failure(FailureKind::Broker, Status::PossiblyPersisted));
    script.deliver([&taken[0], &taken[3], &taken[4]]);
    script.deliver([&taken[0], &taken[3], &taken[4]]);
    host.until(|| calls.len() == 5).await;
    producer.close(Duration::from_secs(10)).await;
    let expected = [(1, Err(FailureKind::TooLarge)), (2, Err(FailureKind::Broker)), (0, Ok(0)), (3, Ok(1)), (4, Ok(2))];
    assert_eq!(calls.all(), expected);
    assert_eq!(producer.statistics().callbacks_waiting, 0);
}

async fn s20_in_order_within_a_partition(host: Host) {
    const RECORDS: usize = 3000;
    let broker = broker::start_with_topic("t", 3);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(500));
    let calls: Vec<_> = (0..3).map(|_| Calls::default()).collect();
    for number in 0..RECORDS {
        let partition = number % 3;
        let record = Record::to("t").partition(partition as i32).payload(number.to_string());
        let calls = calls[partition].clone();
        if number % 5 == 0 {
            let callback = move |outcome: Outcome| async move { calls.note(number, &outcome) };
            producer.produce_with_async(record, callback).await.expect("accepted");
        } else {
            producer.produce_with(record, calls.callback(number)).await.expect("accepted");
        }
    }
    producer.close(Duration::from_secs(30)).await;
    for (partition, calls) in calls.iter().enumerate() {
        let expected: Vec<_> = (0..RECORDS / 3).map(|n| (3 * n + partition, Ok(n as i64))).collect();
        assert_eq!(calls.all(), expected, "partition {partition}");
    }
}

async fn s20_a_slow_one_holds_up_its_own_partition_only(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let calls = Calls::default();
    let (open, gate) = smol::channel::bounded::<()>(1);
    let to = |partition: i32| Record::to("t").partition(partition);
    let waits = move |_: Outcome| async move { gate.recv().await.expect("opened") };
    at_once(producer.produce_with_async(to(0), waits)).expect("accepted");
    at_once(producer.produce_with(to(0), calls.callback(1))).expect("accepted");
    for number in 2..200 {
        at_once(producer.produce_with(to(1 + number as i32 % 7), calls.callback(number))).expect("accepted");
    }
    let served = script.serve(&host);
    host.until(|| calls.len() == 198).await;
    let plain = producer.send(to(0)).await.expect("delivered");
    assert_eq!(plain.offset(), 2, "reports of the partition itself are not held up");
    assert!(calls.all().iter().all(|(number, _)| *number != 1), "its turn comes later");
    open.send(()).await.expect("a callback that waits");
    host.until(|| calls.len() == 199).await;
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s20_a_panic_is_contained_and_counted(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let calls = Calls::default();
    let panics = |_: Outcome| panic!("a callback's own fault");
    let panics_later = |_: Outcome| async { panic!("a callback's own fault, later") };
    producer.produce_with(numbered(0), panics).await.expect("accepted");
    producer.produce_with_async(numbered(1), panics_later).await.expect("accepted");
    producer.produce_with(numbered(2), calls.callback(2)).await.expect("accepted");
    producer.close(Duration::from_secs(10)).await;
    assert_eq!(calls.all(), [(2, Ok(2))]);
    let statistics = producer.statistics();
    assert_eq!((statistics.callbacks_panicked, statistics.callbacks_waiting), (2, 0));
    served.join().await;
}

async fn s20_never_on_a_thread_of_the_backend(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let threads = Arc::new(Mutex::new(Vec::new()));
    for number in 0..50 {
        let threads = Arc::clone(&threads);
        let callback = move |_: Outcome| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            threads.lock().expect("threads").push(name);
        };
        producer.produce_with(numbered(number), callback).await.expect("accepted");
    }
    producer.close(Duration::from_secs(30)).await;
    let threads = threads.lock().expect("threads");
    assert_eq!(threads.len(), 50);
    let foreign: Vec<_> =
        threads.iter().filter(|name| name.starts_with("aioproducer") || name.starts_with("rdk")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

async fn s20_a_callback_may_produce_flush_and_drop_the_producer(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let served = script.serve(&host);
    let (done, ended) = smol::channel::bounded(1);
    let inner = producer.clone();
    let callback = move |outcome: Outcome| async move {
        let first = outcome.expect("delivered").offset();
        let second = inner.send(numbered(1)).await.expect("delivered").offset();
        let delivery = inner.produce(numbered(2)).await.expect("accepted");
        inner.flush().await.expect("flushed");
        let third = delivery.await.expect("delivered").offset();
        drop(inner);
        done.send([first, second, third]).await.expect("the test waits");
    };
    producer.produce_with_async(numbered(0), callback).await.expect("accepted");
    drop(producer);
    assert_eq!(ended.recv().await, Ok([0, 1, 2]));
    served.join().await;
}

async fn s20_a_callback_that_produces_with_a_callback_finds_a_place(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let served = script.serve(&host);
    let calls = Calls::default();
    let (inner, note) = (producer.clone(), calls.clone());
    let chain = move |outcome: Outcome| async move {
        note.note(0, &outcome);
        inner.produce_with(numbered(1), note.callback(1)).await.expect("accepted");
    };
    producer.produce_with_async(numbered(0), chain).await.expect("accepted");
    for number in 2..6 {
        producer.produce_with(numbered(number), calls.callback(number)).await.expect("accepted");
    }
    host.until(|| calls.len() == 6).await;
    producer.close(Duration::from_secs(10)).await;
    let mut numbers: Vec<_> = calls.all().into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    served.join().await;
}

async fn s20_callbacks_that_are_behind_slow_down_who_produces(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(3));
    let served = script.serve(&host);
    let (open, gate) = smol::channel::bounded::<()>(1);
    let waits = move |_: Outcome| async move { gate.recv().await.expect("opened") };
    producer.produce_with_async(numbered(0), waits).await.expect("accepted");
    host.until(|| producer.statistics().callbacks_waiting == 1 && producer.is_empty()).await;
    let calls = Calls::default();
    let mut entered = 0;
    // The one that runs has given its place back; so six may wait behind it, twice as many as there are slots.
    while producer.try_produce_with(numbered(entered), calls.callback(entered)).is_ok() {
        entered += 1;
        host.until(|| producer.is_empty()).await;
    }
    assert_eq!(entered, 6);
    let mut waiting = Observed::new(producer.produce_with(numbered(6), calls.callback(6)));
    assert!(waiting.is_pending());
    assert_eq!(producer.statistics().waiters, 1);
    assert!(producer.send(numbered(9)).await.is_ok(), "who has no callback is not concerned");
    open.send(()).await.expect("a callback that waits");
    host.until(|| waiting.wakes() > 0).await;
    assert!(waiting.ready().is_ok());
    host.until(|| calls.len() == 7).await;
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s20_a_refused_record_s_callback_is_not_called(host: Host) {
    let script = Script::with_record_bytes(100);
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let calls = Calls::default();
    let large = Record::to("t").payload(vec![0; 101]);
    let error = producer.produce_with(large.clone(), calls.callback(0)).await.expect_err("too large");
    assert_eq!((matches!(error, ProduceError::TooLarge { .. }), error.into_record()), (true, large));
    at_once(producer.produce_with(numbered(1), calls.callback(1))).expect("accepted");
    assert!(matches!(producer.try_produce_with(numbered(2), calls.callback(2)), Err(ProduceError::Full(_))));
    let mut cancelled = Observed::new(producer.produce_with(numbered(3), calls.callback(3)));
    assert!(cancelled.is_pending());
    drop(cancelled);
    script.serve(&host);
    producer.close(Duration::from_secs(10)).await;
    let closed = producer.produce_with(numbered(4), calls.callback(4)).await;
    assert!(matches!(closed, Err(ProduceError::Closed(_))));
    assert_eq!(calls.all(), [(1, Ok(0))]);
}

/// Counts how many of its clones there are.
#[derive(Clone)]
struct Witness(Arc<()>);

async fn s21_callbacks_return_their_places_on_every_path(host: Host) {
    let script = Script::with_record_bytes(100);
    let producer = host.start(AioProducer::builder(script.backend()).slots(4));
    let witness = Witness(Arc::new(()));
    let run = Arc::new(AtomicUsize::new(0));
    let callback = || {
        let (witness, run) = (witness.clone(), Arc::clone(&run));
        move |_: Outcome| {
            let _witness = witness;
            if run.fetch_add(1, Ordering::SeqCst) % 7 == 0 {
                panic!("a callback's own fault");
            }
        }
    };
    for round in 0..30 {
        for number in 0..4 {
            producer.produce_with(numbered(number), callback()).await.expect("accepted");
        }
        assert!(producer.produce_with(Record::to("t").payload(vec![0; 101]), callback()).await.is_err());
        drop(Observed::new(producer.produce_with(numbered(9), callback())));
        let rejected = failure(FailureKind::State, Status::NotPersisted);
        let taken = script.next().await.expect("a batch").settle(|at| (at == 0).then_some(Verdict::Rejected(rejected)));
        script.fail(&taken[1], failure(FailureKind::Broker, Status::PossiblyPersisted));
        script.deliver(&taken[2..]);
        host.until(|| producer.statistics().callbacks_waiting == 0).await;
        assert_eq!(run.load(Ordering::SeqCst), 4 * (round + 1));
    }
    let held: Vec<_> = (0..4).map(|number| at_once(producer.produce(numbered(number))).expect("accepted")).collect();
    for _ in 0..10 {
        let mut cancelled = Observed::new(producer.produce_with(numbered(9), callback()));
        assert!(cancelled.is_pending(), "it waits for a slot");
    }
    held.into_iter().for_each(|delivery| drop(delivery.retract().expect("buffered")));
    let mut again = Observed::new(producer.produce_with(numbered(9), callback()));
    assert!(matches!(again.poll(), Poll::Ready(Ok(()))), "there are a slot and a place");
    script.deliver(&script.accept().await);
    host.until(|| producer.statistics().callbacks_waiting == 0 && run.load(Ordering::SeqCst) == 121).await;
    assert_eq!(Arc::strong_count(&witness.0), 1, "no closure is left");
    assert_eq!(producer.statistics().in_use, 0);
    producer.close(Duration::from_secs(10)).await;
}

async fn s22_a_callback_that_stalls_is_counted(host: Host) {
    let script = Script::new();
    let builder = AioProducer::builder(script.backend()).callback_stall(Duration::from_millis(20));
    let producer = host.start(builder);
    let served = script.serve(&host);
    let (open, gate) = smol::channel::bounded::<()>(1);
    let waits = move |_: Outcome| async move { gate.recv().await.expect("opened") };
    producer.produce_with_async(numbered(0), waits).await.expect("accepted");
    host.until(|| producer.statistics().callbacks_stalled == 1).await;
    for _ in 0..3 {
        // The driver looks again each time.
        let record = Record::to("other").timeout(Duration::from_millis(30));
        producer.send(record).await.expect("delivered");
        host.pause(Duration::from_millis(40)).await;
    }
    assert_eq!(producer.statistics().callbacks_stalled, 1, "each is counted once");
    open.send(()).await.expect("a callback that waits");
    host.until(|| producer.statistics().callbacks_waiting == 0).await;
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s23_after_a_flush_of_callbacks_all_have_run(host: Host) {
    const RECORDS: usize = 10_000;
    let broker = broker::start_with_topic("t", 4);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let ran = Arc::new(AtomicUsize::new(0));
    for round in 1..=3 {
        for number in 0..RECORDS {
            let (ran, record) = (Arc::clone(&ran), Record::to("t").key(number.to_string()).payload("x"));
            let count = move || {
                ran.fetch_add(1, Ordering::Relaxed);
            };
            if number % 50 == 0 {
                let callback = move |_: Outcome| async move {
                    smol::future::yield_now().await;
                    count();
                };
                producer.produce_with_async(record, callback).await.expect("accepted");
            } else {
                producer.produce_with(record, move |_| count()).await.expect("accepted");
            }
        }
        let flushed = match round {
            1 => producer.flush().callbacks().await,
            2 => producer.flush().topic("t").callbacks().await,
            _ => producer.flush().partition("t", 0).callbacks().within(Duration::from_secs(50)).await,
        };
        assert_eq!((flushed, ran.load(Ordering::Relaxed)), (Ok(()), round * RECORDS));
    }
    assert_eq!(producer.flush().callbacks().await, Ok(()), "there is nothing to wait for");
}

/// A runner takes several callbacks of a line at once, those before the flush and those after it.
async fn s23_a_flush_of_callbacks_does_not_wait_for_one_that_came_later_in_the_line(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let begun = Arc::new(AtomicUsize::new(0));
    let waits = |number: usize| {
        let (open, gate) = smol::channel::bounded::<()>(1);
        let begun = Arc::clone(&begun);
        let callback = move |_: Outcome| async move {
            begun.fetch_add(1, Ordering::SeqCst);
            gate.recv().await.expect("opened");
        };
        (open, producer.produce_with_async(numbered(number), callback))
    };
    let (first, produced) = waits(0);
    produced.await.expect("accepted");
    host.until(|| begun.load(Ordering::SeqCst) == 1).await;
    producer.produce_with(numbered(1), |_| {}).await.expect("accepted");
    producer.flush().await.expect("flushed");
    let mut flush = Observed::new(producer.flush().callbacks());
    assert!(flush.poll_in_turn().is_pending());
    let (last, produced) = waits(2);
    produced.await.expect("accepted");
    producer.flush().await.expect("flushed");
    first.send(()).await.expect("a callback that waits");
    assert_eq!(flush.into_future().await, Ok(()), "the last one still waits");
    last.send(()).await.expect("a callback that waits");
    assert!(producer.close(Duration::from_secs(10)).await.is_complete());
    served.join().await;
}

async fn s23_a_flush_of_callbacks_waits_for_those_before_it_and_has_a_limit(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let (open, gate) = smol::channel::unbounded::<()>();
    let waits = |topic: &'static str| {
        let gate = gate.clone();
        producer.produce_with_async(Record::to(topic).partition(0), move |_: Outcome| async move {
            gate.recv().await.expect("opened");
        })
    };
    waits("t").await.expect("accepted");
    waits("t").await.expect("accepted");
    producer.flush().await.expect("it does not wait for them");
    let limited = producer.flush().callbacks().within(Duration::from_millis(20)).await;
    assert_eq!(limited, Err(FlushError::Callbacks { remaining: 2 }));
    producer.send(Record::to("other")).await.expect("delivered");
    assert_eq!(producer.flush().topic("other").callbacks().await, Ok(()), "of another topic there are none");
    let mut given_up = Observed::new(producer.flush().callbacks());
    let mut first = Observed::new(producer.flush().callbacks());
    assert!(given_up.poll_in_turn().is_pending() && first.poll_in_turn().is_pending());
    drop(given_up);
    // Those that come later, in the same line or another.
    waits("t").await.expect("accepted");
    waits("other").await.expect("accepted");
    let mut second = Observed::new(producer.flush().callbacks());
    producer.flush().await.expect("flushed");
    assert!(second.poll_in_turn().is_pending() && second.is_pending(), "callbacks are left");
    let wakes = (first.wakes(), second.wakes());
    // The callback of "other" may take one of them.
    for _ in 0..3 {
        open.send(()).await.expect("a callback that waits");
    }
    host.until(|| first.wakes() > wakes.0).await;
    assert_eq!(first.ready(), Ok(()));
    assert!(second.is_pending(), "one is left");
    open.send(()).await.expect("a callback that waits");
    host.until(|| second.wakes() > wakes.1).await;
    assert_eq!(second.ready(), Ok(()));
    producer.close(Duration::from_secs(10)).await;
    assert_eq!(producer.flush().callbacks().await, Ok(()), "after the end there is nothing to wait for");
    served.join().await;
}

async fn s23_a_flush_of_callbacks_fails_inside_of_one(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let (tell, told) = smol::channel::bounded(2);
    let (inner, other) = (producer.clone(), tell.clone());
    let callback = move |_: Outcome| async move {
        let outcome = inner.flush().callbacks().await;
        other.send((outcome, inner.flush().await)).await.expect("told");
    };
    producer.produce_with_async(numbered(0), callback).await.expect("accepted");
    let inner = producer.clone();
    let callback = move |_: Outcome| {
        let outcome = at_once(inner.flush().callbacks());
        tell.try_send((outcome, Ok(()))).expect("told");
    };
    producer.produce_with(numbered(1), callback).await.expect("accepted");
    for _ in 0..2 {
        assert_eq!(told.recv().await.expect("told"), (Err(FlushError::InsideCallback), Ok(())));
    }
    producer.flush().callbacks().await.expect("they have ended");
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s25_close_waits_for_callbacks_until_its_deadline(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let calls = Calls::default();
    let (slow, note) = (host.clone(), calls.clone());
    let callback = move |outcome: Outcome| async move {
        slow.pause(Duration::from_millis(30)).await;
        note.note(0, &outcome);
    };
    at_once(producer.produce_with_async(numbered(0), callback)).expect("accepted");
    script.serve(&host);
    producer.close(Duration::from_secs(30)).await;
    assert_eq!(calls.all(), [(0, Ok(0))]);

    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    at_once(producer.produce_with_async(numbered(0), |_| pending())).expect("accepted");
    script.serve(&host);
    assert!(producer.close(Duration::from_millis(50)).await.is_complete(), "the record itself was delivered");
    assert_eq!(producer.statistics().callbacks_waiting, 1);
}

async fn s25_close_inside_a_callback_does_not_wait_for_itself(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let (done, ended) = smol::channel::bounded(1);
    let inner = producer.clone();
    let callback = move |_: Outcome| async move {
        let complete = inner.close(Duration::from_secs(3600)).await.is_complete();
        done.send(complete).await.expect("the test waits");
    };
    at_once(producer.produce_with_async(numbered(0), callback)).expect("accepted");
    script.serve(&host);
    assert_eq!(ended.recv().await, Ok(true));
    assert!(producer.is_closed());
}

async fn s02_a_full_pool_of_records_with_callbacks_does_as_it_is_told(host: Host) {
    for overflow in [Overflow::Fail, Overflow::DropNewest, Overflow::DropOldest] {
        let script = Script::new();
        let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(overflow));
        let calls = Calls::default();
        at_once(producer.produce_with(numbered(0), calls.callback(0))).expect("accepted");
        let second = at_once(producer.produce_with(numbered(1), calls.callback(1)));
        let expected = match overflow {
            Overflow::Fail => {
                assert_eq!(second.expect_err("full").into_record(), numbered(1));
                vec![(0, Ok(0))]
            }
            Overflow::DropNewest => vec![(1, Err(FailureKind::Dropped)), (0, Ok(0))],
            _ => vec![(0, Err(FailureKind::Dropped)), (1, Ok(0))],
        };
        host.until(|| calls.len() + 1 == expected.len() || expected.len() == 1).await;
        script.deliver(&script.accept().await);
        host.until(|| calls.len() == expected.len()).await;
        assert_eq!(calls.all(), expected, "{overflow:?}");
        producer.close(Duration::from_secs(10)).await;
    }
}

async fn s25_close_after_a_fatal_error_waits_for_callbacks(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let calls = Calls::default();
    let (open, gate) = smol::channel::bounded::<()>(1);
    let waits = move |_: Outcome| async move { gate.recv().await.expect("opened") };
    at_once(producer.produce_with_async(numbered(0), waits)).expect("accepted");
    at_once(producer.produce_with(numbered(1), calls.callback(1))).expect("accepted");
    script.fatal(failure(FailureKind::Fatal, Status::NotPersisted));
    let mut close = Observed::new(producer.close(Duration::from_secs(3600)));
    host.until(|| producer.statistics().callbacks_waiting == 2).await;
    assert!(close.is_pending(), "two callbacks have not come to their end");
    open.send(()).await.expect("a callback that waits");
    close.into_future().await;
    assert_eq!(calls.all(), [(1, Err(FailureKind::Fatal))]);
}

async fn s10_who_waits_for_a_callback_s_place_hears_of_the_close(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let served = script.serve(&host);
    at_once(producer.produce_with_async(numbered(0), |_| pending())).expect("accepted");
    host.until(|| producer.statistics().callbacks_waiting == 1 && producer.is_empty()).await;
    for number in 1..3 {
        producer.produce_with(numbered(number), |_| ()).await.expect("accepted");
        host.until(|| producer.is_empty()).await;
    }
    let mut waiting = Observed::new(producer.produce_with(numbered(3), |_| ()));
    assert!(waiting.is_pending());
    producer.close(Duration::from_millis(20)).await;
    assert!(waiting.wakes() > 0);
    assert!(matches!(waiting.poll(), Poll::Ready(Err(ProduceError::Closed(_)))));
    served.join().await;
}

/// A callback that blocks its thread. It cannot be shown on executors of one thread.
#[test]
fn s20_one_that_blocks_holds_up_its_own_partition_only() {
    run::<TokioMulti, _>(async |host: Host| {
        let script = Script::new();
        let producer = host.start(AioProducer::builder(script.backend()));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let calls = Calls::default();
        let to = |partition: i32| Record::to("t").partition(partition);
        at_once(producer.produce_with(to(0), move |_| gate.recv().expect("opened"))).expect("accepted");
        for number in 1..50 {
            at_once(producer.produce_with(to(number), calls.callback(number as usize))).expect("accepted");
        }
        let mut taken = Vec::new();
        while taken.len() < 50 {
            taken.extend(script.accept().await);
        }
        script.deliver(&taken);
        while calls.len() < 49 {
            thread::yield_now();
        }
        open.send(()).expect("a callback that waits");
        producer.close(Duration::from_secs(10)).await;
    });
}

async fn s26_dropped_producers_call_back_what_was_accepted(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let calls = Calls::default();
    for number in 0..100 {
        at_once(producer.produce_with(numbered(number), calls.callback(number))).expect("accepted");
    }
    drop(producer);
    host.until(|| calls.len() == 100).await;
    let expected: Vec<_> = (0..100).map(|number| (number, Err(FailureKind::Closed))).collect();
    assert_eq!(calls.all(), expected);
}
