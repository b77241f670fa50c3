//! S20, S22: when callbacks run, and in which order.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, DeliveryError, DeliveryReport, Record};
use aioproducer_tests::executor::{Host, TokioMulti, run};
use aioproducer_tests::probe::at_once;
use aioproducer_tests::scripted::{NotQueued, Script, failure};
use aioproducer_tests::{broker, promises};

mod flush_and_close;
mod places;

promises! {
    s20_called_once_for_each_outcome,
    s20_in_order_within_a_partition,
    s20_a_slow_one_holds_up_its_own_partition_only,
    s20_a_panic_is_caught_and_counted,
    s20_never_on_a_thread_of_the_backend,
    s20_a_callback_may_produce_flush_and_drop_the_producer,
    s22_a_callback_that_stalls_is_counted,
}

type Outcome = Result<DeliveryReport, DeliveryError>;

fn numbered(number: usize) -> Record<'static> {
    Record::to("t").partition(0).payload(number.to_string())
}

/// A record's number, and its offset or why it failed.
type Called = (usize, Result<i64, FailureKind>);

/// The arguments of the callbacks so far, in the order of the calls.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Called>>>);

impl Calls {
    fn note(&self, number: usize, outcome: &Outcome) {
        let outcome = outcome.as_ref().map(|report| report.offset().expect("an offset")).map_err(DeliveryError::kind);
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
    let taken = script.next().await.expect("a batch").settle(|at| (at == 1).then_some(NotQueued::Rejected(rejected)));
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
    assert_eq!(plain.offset(), Some(2), "reports of the partition itself are not held up");
    assert!(calls.all().iter().all(|(number, _)| *number != 1), "its turn comes later");
    open.send(()).await.expect("a callback that waits");
    host.until(|| calls.len() == 199).await;
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s20_a_panic_is_caught_and_counted(host: Host) {
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
    assert_eq!(ended.recv().await, Ok([Some(0), Some(1), Some(2)]));
    served.join().await;
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
        // The driver checks again each time.
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

/// A callback that blocks its thread, which needs an executor with several threads.
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
