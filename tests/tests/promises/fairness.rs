//! S28: a task whose calls are always ready at once still lets other tasks run on its thread.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::transaction::Group;
use aioproducer_driver::{AioProducer, PurgeScope, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_smol::Smol;
use aioproducer_tests::executor::{Host, TokioCurrent, run};
use aioproducer_tests::immediate::Immediate;
use aioproducer_tests::scripted::{Script, begun, failure};
use aioproducer_tests::{broker, promises};
use aioproducer_tokio::Tokio;
use smol::future::yield_now;
use smol::stream::Stream;

promises! {
    s28_produce_lets_others_have_their_turn,
    s28_produce_that_is_refused_lets_others_have_their_turn,
    s28_send_lets_others_have_their_turn,
    s28_callbacks_let_others_have_their_turn,
    s28_produce_all_lets_others_have_their_turn,
    s28_flush_lets_others_have_their_turn,
    s28_purge_and_close_let_others_have_their_turn,
    s28_deliveries_let_others_have_their_turn,
    s28_reports_let_others_have_their_turn,
    s28_events_let_others_have_their_turn,
    s28_calls_of_a_closed_producer_let_others_have_their_turn,
    s28_transactions_let_others_have_their_turn,
    s28_produce_to_a_broker_lets_others_have_their_turn,
    s28_a_record_whose_turn_has_not_come_is_not_accepted,
}

const LONG: Duration = Duration::from_secs(3600);

/// How often the ticker must tick before the loop beside it may end.
const TICKS: usize = 3;

/// More calls than one poll of a task may make.
const MANY: usize = 2_000;

/// More outcomes than one poll may read, for loops that end with them.
const PREPARED: usize = 5 * MANY;

/// Repeats a call until the ticker beside it has ticked, or the call returns `false`. The task must return to its executor
/// in between. Runs in the test's own task and in a spawned one.
async fn beside_a_ticker<C, F>(host: &Host, mut prepare: impl FnMut() -> C)
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = bool> + Send + 'static,
{
    beside_one_ticker(host.clone(), prepare()).await;
    host.spawn(beside_one_ticker(host.clone(), prepare())).join().await;
}

async fn beside_one_ticker<F: Future<Output = bool>>(host: Host, mut call: impl FnMut() -> F) {
    let ticks = Arc::new(AtomicUsize::new(0));
    let ticker = host.spawn({
        let (host, ticks) = (host.clone(), Arc::clone(&ticks));
        async move {
            while ticks.fetch_add(1, Ordering::SeqCst) < TICKS {
                host.pause(Duration::from_millis(5)).await;
            }
        }
    });
    let in_one_poll = AtomicUsize::new(0);
    let mut calls = pin!(async {
        while call().await && ticks.load(Ordering::SeqCst) < TICKS {
            let made = in_one_poll.fetch_add(1, Ordering::SeqCst);
            assert!(made < MANY, "one poll made {made} calls");
        }
    });
    poll_fn(|cx| {
        in_one_poll.store(0, Ordering::SeqCst);
        calls.as_mut().poll(cx)
    })
    .await;
    ticker.join().await;
}

fn record() -> Record<'static> {
    Record::to("t").payload("x")
}

fn immediate(host: &Host) -> AioProducer {
    host.start(AioProducer::builder(Immediate))
}

/// A repeated call of `producer`.
macro_rules! each {
    ($producer:expr, $name:ident => $call:expr) => {
        || {
            let $name = $producer.clone();
            move || {
                let $name = $name.clone();
                async move {
                    $call;
                    true
                }
            }
        }
    };
}

async fn s28_produce_lets_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, each!(producer, p => drop(p.produce(record()).await.expect("room")))).await;
}

async fn s28_produce_that_is_refused_lets_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, each!(producer, p => p.produce(Record::to("")).await.expect_err("no topic"))).await;
    producer.close(LONG).await;
    beside_a_ticker(&host, each!(producer, p => p.produce(record()).await.expect_err("closed"))).await;
}

async fn s28_send_lets_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, each!(producer, p => p.send(record()).await.expect("delivered"))).await;
    beside_a_ticker(
        &host,
        each!(producer, p => {
            p.produce(record()).await.expect("room").await.expect("delivered")
        }),
    )
    .await;
}

async fn s28_callbacks_let_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, each!(producer, p => p.produce_with(record(), drop).await.expect("room"))).await;
    beside_a_ticker(
        &host,
        each!(producer, p => {
            p.produce_with_async(record(), |_| async {}).await.expect("room")
        }),
    )
    .await;
}

async fn s28_produce_all_lets_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    for records in [0, 1, 40] {
        beside_a_ticker(
            &host,
            each!(producer, p => {
                assert_eq!(p.produce_all((0..records).map(|_| record())).await.len(), records);
            }),
        )
        .await;
    }
}

async fn s28_flush_lets_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, each!(producer, p => p.flush().await.expect("nothing to do"))).await;
    beside_a_ticker(&host, each!(producer, p => p.flush().topic("t").await.expect("nothing to do"))).await;
    producer.send(record()).await.expect("delivered");
    beside_a_ticker(&host, each!(producer, p => p.flush().topic("t").await.expect("nothing to do"))).await;
}

async fn s28_purge_and_close_let_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, each!(producer, p => p.purge(PurgeScope::All).await)).await;
    producer.close(LONG).await;
    beside_a_ticker(&host, each!(producer, p => p.purge(PurgeScope::All).await)).await;
    beside_a_ticker(&host, each!(producer, p => drop(p.close(LONG).await))).await;
}

async fn s28_deliveries_let_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    beside_a_ticker(&host, || {
        let mut deliveries: Vec<_> = (0..PREPARED).map(|_| producer.try_produce(record()).expect("room")).collect();
        move || {
            let delivery = deliveries.pop();
            async move {
                let Some(delivery) = delivery else { return false };
                delivery.await.expect("delivered");
                true
            }
        }
    })
    .await;
}

/// Calls `poll` and says whether it found something.
fn polled<S: Send + 'static, T: 'static>(
    of: &Arc<Mutex<S>>,
    poll: fn(&mut S, &mut Context<'_>) -> Poll<Option<T>>,
) -> impl Future<Output = bool> + Send + 'static {
    let of = Arc::clone(of);
    poll_fn(move |cx| {
        let mut of = of.lock().unwrap_or_else(PoisonError::into_inner);
        poll(&mut of, cx).map(|found| found.is_some())
    })
}

async fn s28_reports_let_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    for _ in 0..2 {
        let (reporter, reports) = producer.reports::<usize>(PREPARED);
        for number in 0..PREPARED {
            reporter.produce(record(), number).await.expect("room");
        }
        drop(reporter);
        // Now every outcome is in the stream.
        host.until(|| producer.statistics().callbacks_waiting == 0).await;
        let reports = Arc::new(Mutex::new(reports));
        beside_one_ticker(host.clone(), || polled(&reports, |reports, cx| Pin::new(reports).poll_next(cx))).await;
    }
    let reports = Arc::new(Mutex::new(producer.reports::<()>(1)));
    beside_a_ticker(&host, || {
        let reports = Arc::clone(&reports);
        move || {
            let reports = Arc::clone(&reports);
            async move {
                let reporter = reports.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
                reporter.produce(Record::to(""), ()).await.expect_err("no topic");
                true
            }
        }
    })
    .await;
}

async fn s28_events_let_others_have_their_turn(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("debug", "all");
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events_with_capacity(PREPARED);
    let producer = host.start(AioProducer::builder(backend));
    // No event is read meanwhile, so many are waiting.
    for _ in 0..300 {
        producer.send(record()).await.expect("delivered");
    }
    producer.close(LONG).await;
    let in_one_poll = AtomicUsize::new(0);
    let mut reading = pin!(async {
        let (mut read, mut most) = (0, 0);
        while events.next().await.is_some() {
            read += 1;
            most = most.max(in_one_poll.fetch_add(1, Ordering::SeqCst));
        }
        (read, most)
    });
    let (read, most) = poll_fn(|cx| {
        in_one_poll.store(0, Ordering::SeqCst);
        reading.as_mut().poll(cx)
    })
    .await;
    assert!(read > MANY / 2 && most < MANY / 20, "one poll read {most} of {read} events");
}

async fn s28_calls_of_a_closed_producer_let_others_have_their_turn(host: Host) {
    let producer = immediate(&host);
    producer.close(LONG).await;
    beside_a_ticker(&host, each!(producer, p => p.metadata(None).await.expect_err("closed"))).await;
    beside_a_ticker(&host, each!(producer, p => p.set_sasl_credentials("u", "p").await.expect_err("closed"))).await;
    beside_a_ticker(&host, each!(producer, p => p.begin().await.expect_err("no transactional id"))).await;
}

async fn s28_transactions_let_others_have_their_turn(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    beside_a_ticker(&host, each!(producer, p => p.begin().await.expect_err("one is open"))).await;
    beside_a_ticker(&host, each!(producer, p => p.init_transactions().await.expect("it is done"))).await;
    let open = Arc::new(transaction);
    beside_a_ticker(&host, each!(open, t => t.send_offsets([], Group::new("g")).await.expect("no work"))).await;
    let transaction = Arc::into_inner(open).expect("no other task has it");

    // A commit of a transaction that can only be aborted.
    let delivery = transaction.produce(record()).await.expect("room");
    let taken = script.accept().await;
    script.fail(&taken[0], failure(FailureKind::Broker, Status::NotPersisted));
    delivery.await.expect_err("failed");
    let failed = Arc::new(Mutex::new(Some(transaction)));
    beside_a_ticker(&host, || {
        let failed = Arc::clone(&failed);
        move || {
            let failed = Arc::clone(&failed);
            async move {
                let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
                let transaction = lock().take().expect("it comes back");
                let error = transaction.commit().await.expect_err("one of its records failed");
                *lock() = error.into_transaction();
                true
            }
        }
    })
    .await;
}

async fn s28_produce_to_a_broker_lets_others_have_their_turn(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    beside_a_ticker(&host, each!(producer, p => drop(p.produce(record()).await.expect("room")))).await;
    beside_a_ticker(&host, each!(producer, p => p.produce_with(record(), drop).await.expect("room"))).await;
    assert!(producer.close(LONG).await.is_complete());
}

/// A future that yields has not accepted its record yet, so dropping it loses nothing.
async fn s28_a_record_whose_turn_has_not_come_is_not_accepted(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let accepted = || producer.statistics().acquired;
    let mut turns = 0;
    while turns < 3 {
        let before = accepted();
        assert!(before < 60_000, "all were ready at once");
        let mut produce = Box::pin(producer.produce(record()));
        match poll_fn(|cx| Poll::Ready(produce.as_mut().poll(cx))).await {
            Poll::Ready(delivery) => drop(delivery.expect("room")),
            Poll::Pending => {
                drop(produce);
                assert_eq!(accepted(), before, "dropped before it was accepted");
                turns += 1;
                yield_now().await;
            }
        }
    }
}

/// A timeout around a loop works (rust-rdkafka's issue 649).
#[test]
fn s28_a_timeout_around_a_loop_is_kept() {
    run::<TokioCurrent, _>(|host| async move {
        let producer = immediate(&host);
        let calls = async {
            loop {
                producer.produce(record()).await.expect("room").await.expect("delivered");
            }
        };
        tokio::time::timeout(Duration::from_millis(50), calls).await.expect_err("it has no end");
    });
}

/// A producer's futures are fair on an executor that is not the producer's, too.
#[test]
fn s28_futures_are_fair_on_an_executor_of_another_kind() {
    run::<TokioCurrent, _>(|host| async move {
        let producer = AioProducer::builder(Immediate).start(Smol::global()).expect("started");
        beside_a_ticker(&host, each!(producer, p => p.send(record()).await.expect("delivered"))).await;
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let tokio = Tokio::new(runtime.handle().clone());
    run::<aioproducer_tests::executor::OwnExecutor, _>(|host| async move {
        let producer = AioProducer::builder(Immediate).start(tokio).expect("started");
        beside_a_ticker(&host, each!(producer, p => p.send(record()).await.expect("delivered"))).await;
        drop(producer);
    });
}
