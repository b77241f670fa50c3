//! S2, S10, S20, S21: the places that callbacks take, and tasks that wait for one.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Overflow, ProduceError, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::scripted::{NotQueued, Script, failure};

use super::{Calls, Outcome, numbered};

promises! {
    s20_a_callback_that_produces_with_a_callback_finds_a_place,
    s20_callbacks_that_are_behind_slow_down_producing_tasks,
    s20_a_refused_record_s_callback_is_not_called,
    s02_a_full_pool_of_records_with_callbacks_follows_its_setting,
    s21_callbacks_return_their_places_on_every_path,
    s10_a_task_that_waits_for_a_callback_s_place_learns_of_the_close,
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

async fn s20_callbacks_that_are_behind_slow_down_producing_tasks(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(3));
    let served = script.serve(&host);
    let (open, gate) = smol::channel::bounded::<()>(1);
    let waits = move |_: Outcome| async move { gate.recv().await.expect("opened") };
    producer.produce_with_async(numbered(0), waits).await.expect("accepted");
    host.until(|| producer.statistics().callbacks_waiting == 1 && producer.is_empty()).await;
    let calls = Calls::default();
    let mut entered = 0;
    // The running one has returned its place, so six may wait behind it: twice the number of slots.
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

/// Counts its clones.
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
        let taken =
            script.next().await.expect("a batch").settle(|at| (at == 0).then_some(NotQueued::Rejected(rejected)));
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

async fn s02_a_full_pool_of_records_with_callbacks_follows_its_setting(host: Host) {
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

async fn s10_a_task_that_waits_for_a_callback_s_place_learns_of_the_close(host: Host) {
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
