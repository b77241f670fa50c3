//! S23, S25, S26, S31: flush, close and drop wait for callbacks.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::FlushError;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::{Executor, Host, TokioCurrent, watched};
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, failure};
use aioproducer_tests::{broker, promises};

use super::{Calls, Outcome, numbered};

promises! {
    s23_after_a_flush_of_callbacks_all_have_run,
    s23_a_flush_of_callbacks_waits_for_those_before_it_and_has_a_limit,
    s23_a_flush_of_callbacks_does_not_wait_for_one_that_came_later_in_the_line,
    s23_a_flush_of_callbacks_fails_inside_of_one,
    s25_close_waits_for_callbacks_until_its_deadline,
    s25_close_inside_a_callback_does_not_wait_for_itself,
    s25_close_after_a_fatal_error_waits_for_callbacks,
    s26_dropped_producers_call_back_what_was_accepted,
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
            _ => {
                for partition in 0..3 {
                    let flush = producer.flush().partition("t", partition).callbacks();
                    assert_eq!(flush.within(Duration::from_secs(50)).await, Ok(()), "{partition}");
                }
                producer.flush().partition("t", 3).callbacks().await
            }
        };
        assert_eq!((flushed, ran.load(Ordering::Relaxed)), (Ok(()), round * RECORDS));
    }
    assert_eq!(producer.flush().callbacks().await, Ok(()), "there is nothing to wait for");
}

/// A runner takes several callbacks of a partition at once, some from before the flush and some from after it.
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
    // Later callbacks, of the same partition and of another topic.
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
    let (sender, outcomes) = smol::channel::bounded(2);
    let (inner, other) = (producer.clone(), sender.clone());
    let callback = move |_: Outcome| async move {
        let outcome = inner.flush().callbacks().await;
        other.send((outcome, inner.flush().await)).await.expect("the test waits");
    };
    producer.produce_with_async(numbered(0), callback).await.expect("accepted");
    let inner = producer.clone();
    let callback = move |_: Outcome| {
        let outcome = at_once(inner.flush().callbacks());
        sender.try_send((outcome, Ok(()))).expect("the test waits");
    };
    producer.produce_with(numbered(1), callback).await.expect("accepted");
    for _ in 0..2 {
        assert_eq!(outcomes.recv().await.expect("an outcome"), (Err(FlushError::InsideCallback), Ok(())));
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

#[test]
fn s31_a_flush_of_callbacks_ends_with_the_runtime_that_runs_them() {
    watched(|| {
        let executor = TokioCurrent::new();
        let script = Script::new();
        let host = executor.host();
        let producer = host.start(AioProducer::builder(script.backend()));
        executor.block_on(async {
            producer.produce_with_async(numbered(0), |_| std::future::pending()).await.expect("accepted");
            script.deliver(&script.accept().await);
            host.until(|| producer.statistics().callbacks_waiting == 1 && producer.is_empty()).await;
        });
        let mut flush = Observed::new(producer.flush().callbacks());
        assert!(flush.poll_in_turn().is_pending());
        let wakes = flush.wakes();
        drop((executor, host));
        assert!(flush.wakes() > wakes);
        assert_eq!(flush.ready(), Ok(()));
    });
}
