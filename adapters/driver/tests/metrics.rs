//! Metrics of a producer, as a recorder sees them.

mod observed;
mod still;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aioproducer_core::backend::{ErrorCode, Failure, FailureKind, Status};
use aioproducer_driver::runtime::{Instant, Task};
use aioproducer_driver::{AioProducer, Builder, Overflow, Record, Runtime};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use observed::{ByHand, Tasks};

const REFUSED: Failure =
    Failure::new(FailureKind::Broker, Status::PossiblyPersisted, Some(ErrorCode::RequestTimedOut), "refused");

#[derive(Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

/// All that is registered, by name and labels.
#[derive(Default)]
struct Recorded {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Values>>>,
}

fn text(key: &Key) -> String {
    key.labels().fold(key.name().to_owned(), |text, label| format!("{text} {}={}", label.key(), label.value()))
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(text(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(self.gauges.lock().unwrap().entry(text(key)).or_default()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::clone(self.histograms.lock().unwrap().entry(text(key)).or_default()))
    }
}

impl Recorded {
    fn counter(&self, name: &str) -> u64 {
        self.counters.lock().unwrap()[&format!("aioproducer_{name}")].load(Ordering::SeqCst)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.gauges.lock().unwrap()[&format!("aioproducer_{name}")].load(Ordering::SeqCst))
    }

    fn histogram(&self, name: &str) -> Vec<f64> {
        self.histograms.lock().unwrap()[&format!("aioproducer_{name}")].0.lock().unwrap().clone()
    }
}

fn with(settings: fn(Builder<ByHand>) -> Builder<ByHand>, run: impl FnOnce(&Recorded, &ByHand, &Tasks, AioProducer)) {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let (backend, tasks) = (ByHand::default(), Tasks::default());
        let producer = settings(AioProducer::builder(backend.clone())).start(tasks.clone()).unwrap();
        run(&recorded, &backend, &tasks, producer);
    });
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn produce(producer: &AioProducer, count: usize) {
    for _ in 0..count {
        drop(producer.try_produce(Record::to("t").payload("12345")).unwrap());
    }
}

#[test]
fn records_are_counted_in_each_stage() {
    with(
        |builder| builder.slots(8).batch_records(4),
        |recorded, backend, _, producer| {
            assert_eq!(recorded.gauge("pool_slots"), 8.0);
            produce(&producer, 6);
            assert_eq!(recorded.counter("records_accepted_total"), 6);
            assert_eq!((recorded.gauge("records_buffered"), recorded.gauge("pool_bytes")), (6.0, 30.0));
            backend.hand_off(None);
            assert_eq!(recorded.counter("records_delivered_total"), 4);
            assert_eq!((recorded.gauge("records_buffered"), recorded.gauge("pool_slots_in_use")), (2.0, 2.0));
            assert_eq!(recorded.gauge("pool_slots_high_water"), 6.0);
            assert_eq!(recorded.histogram("batch_records"), [4.0]);
            assert_eq!(recorded.histogram("batch_bytes"), [20.0]);
            assert_eq!(recorded.histogram("batch_fill_ratio"), [1.0]);
            let (queue, delivery) = (recorded.histogram("queue_seconds"), recorded.histogram("delivery_seconds"));
            assert_eq!((queue.len(), delivery.len()), (4, 4));
            assert!(queue.iter().zip(&delivery).all(|(queue, delivery)| 0.0 <= *queue && queue <= delivery));
            backend.hand_off(None);
            assert_eq!(recorded.gauge("records_handed_off"), 0.0);
            assert_eq!(recorded.histogram("batch_fill_ratio"), [1.0, 0.5]);
            assert_eq!(recorded.counter("batches_total"), 2);
        },
    );
}

#[test]
fn a_success_that_is_reported_at_once_is_counted_by_the_worker_that_follows() {
    with(
        |builder| builder,
        |recorded, backend, _, producer| {
            for round in 1..=3 {
                let mut delivery = producer.try_produce(Record::to("t").payload("12345")).unwrap();
                assert!(
                    backend.report_at_once(),
                    "neither metrics nor spans that no subscriber wants keep it from that"
                );
                assert!(matches!(poll(&mut delivery), Poll::Ready(Ok(_))));
                assert_eq!(recorded.counter("records_delivered_total"), round - 1, "no recorder runs on such a thread");
                backend.follow();
                assert_eq!(recorded.counter("records_delivered_total"), round);
                assert_eq!(recorded.gauge("pool_slots_in_use"), 0.0);
                assert_eq!(recorded.histogram("delivery_seconds").len() as u64, round);
            }
        },
    );
}

#[test]
fn what_is_accepted_is_delivered_failed_retracted_or_in_use() {
    with(
        |builder| builder.slots(4).batch_records(1).overflow(Overflow::DropOldest),
        |recorded, backend, _, producer| {
            produce(&producer, 2);
            backend.hand_off(None);
            backend.hand_off(Some(REFUSED));
            producer.try_produce(Record::to("t")).unwrap().retract().unwrap();
            produce(&producer, 5);
            assert_eq!(recorded.counter("records_accepted_total"), 8);
            assert_eq!(recorded.counter("records_delivered_total"), 1);
            assert_eq!(recorded.counter("records_retracted_total"), 1);
            assert_eq!(recorded.counter("records_failed_total kind=broker status=possibly_persisted"), 1);
            assert_eq!(recorded.counter("records_failed_total kind=dropped status=not_persisted"), 1);
            assert_eq!(recorded.counter("records_dropped_total"), 1);
            assert_eq!(recorded.gauge("pool_slots_in_use"), 4.0);
            drop(producer);
            assert_eq!(recorded.counter("records_failed_total kind=closed status=not_persisted"), 4);
            assert_eq!(recorded.gauge("pool_slots_in_use"), 0.0);
        },
    );
}

#[test]
fn callbacks_are_counted() {
    with(
        |builder| builder,
        |recorded, backend, tasks, producer| {
            producer.try_produce_with(Record::to("t"), |_| ()).unwrap();
            producer.try_produce_with(Record::to("t"), |_| panic!("on purpose")).unwrap();
            backend.hand_off(None);
            assert_eq!(recorded.gauge("callbacks_waiting"), 2.0);
            tasks.run();
            assert_eq!(recorded.gauge("callbacks_waiting"), 0.0);
            assert_eq!(recorded.counter("callbacks_panicked_total"), 1);
        },
    );
}

#[test]
fn a_producers_name_is_a_label_and_its_gauges_end_with_it() {
    with(
        |builder| builder.name("one").slots(8),
        |recorded, backend, tasks, producer| {
            produce(&producer, 1);
            assert_eq!(recorded.counter("records_accepted_total producer=one"), 1);
            assert_eq!(recorded.gauge("pool_slots producer=one"), 8.0);
            drop(producer);
            // Who still knows the producer's other end goes, too.
            backend.forget();
            tasks.run();
            assert_eq!(recorded.gauge("pool_slots producer=one"), 0.0);
        },
    );
}

/// A runtime with a clock that the test moves.
#[derive(Clone, Default)]
struct Clock {
    tasks: Tasks,
    seconds: Arc<AtomicU64>,
}

impl Clock {
    /// Moves the time on, and runs the tasks.
    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
        self.tasks.run();
    }
}

impl Runtime for Clock {
    fn now(&self) -> Instant {
        Instant::ZERO + Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, at: Instant) -> Task {
        let clock = self.clone();
        Box::pin(std::future::poll_fn(move |_| if clock.now() >= at { Poll::Ready(()) } else { Poll::Pending }))
    }

    fn spawn(&self, task: Task) {
        self.tasks.spawn(task);
    }
}

#[test]
fn the_health_of_leaders_is_reported_once_a_second_while_there_are_records() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        let (backend, clock) = (ByHand::default(), Clock::default());
        let producer = AioProducer::builder(backend.clone()).name("one").start(clock.clone()).unwrap();
        clock.pass(5);
        let oldest = || recorded.gauge("oldest_record_seconds producer=one");
        let of_leader = |what| recorded.gauge(&format!("leader_{what} producer=one leader=unknown"));
        let names = ["records_waiting", "oldest_waiting_seconds", "bytes", "unavailable"];
        drop(producer.try_produce(Record::to("t").partition(3).payload("12345")).unwrap());
        drop(producer.try_produce(Record::to("t").payload("12345")).unwrap());
        assert_eq!(oldest(), 0.0);
        clock.pass(0);
        clock.pass(7);
        assert_eq!((oldest(), names.map(of_leader)), (7.0, [1.0, 7.0, 5.0, 0.0]));
        clock.pass(1);
        assert_eq!((oldest(), names.map(of_leader)), (8.0, [1.0, 8.0, 5.0, 0.0]), "again after a second");
        backend.hand_off(None);
        backend.hand_off(None);
        clock.pass(1);
        assert_eq!((oldest(), names.map(of_leader)), (0.0, [0.0; 4]), "once more after the last record");
        drop(producer.try_produce(Record::to("t").partition(3)).unwrap());
        clock.pass(0);
        clock.pass(3);
        assert_eq!((oldest(), of_leader("records_waiting")), (3.0, 1.0), "and from the next one on");
        drop(producer);
        backend.forget();
        clock.pass(1);
        assert_eq!((oldest(), names.map(of_leader)), (0.0, [0.0; 4]), "a producer takes back what it has reported");
    });
}

/// A recorder that panics at every call, once it is switched on.
#[derive(Clone, Default)]
struct Touchy(Arc<AtomicBool>);

impl Touchy {
    fn look(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "a recorder that panics, as the test has it");
    }
}

impl CounterFn for Touchy {
    fn increment(&self, _: u64) {
        self.look();
    }

    fn absolute(&self, _: u64) {
        self.look();
    }
}

impl GaugeFn for Touchy {
    fn increment(&self, _: f64) {
        self.look();
    }

    fn decrement(&self, _: f64) {
        self.look();
    }

    fn set(&self, _: f64) {
        self.look();
    }
}

impl HistogramFn for Touchy {
    fn record(&self, _: f64) {
        self.look();
    }
}

impl Recorder for Touchy {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.clone()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(self.clone()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

#[test]
fn s03_a_recorder_that_panics_costs_no_outcome() {
    let touchy = Touchy::default();
    metrics::with_local_recorder(&touchy, || {
        let (backend, tasks) = (ByHand::default(), Tasks::default());
        let producer = AioProducer::builder(backend.clone()).start(tasks.clone()).unwrap();
        for failure in [None, Some(REFUSED)] {
            let deliveries: Vec<_> = (0..3).map(|_| producer.try_produce(Record::to("t")).unwrap()).collect();
            touchy.0.store(true, Ordering::SeqCst);
            backend.hand_off(failure);
            tasks.run();
            touchy.0.store(false, Ordering::SeqCst);
            for delivery in deliveries {
                let outcome = pin!(delivery).poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(outcome) = outcome else { panic!("a delivery has no outcome") };
                assert_eq!(outcome.is_ok(), failure.is_none());
            }
        }
        assert!(producer.statistics().panics_caught > 0);
        touchy.0.store(true, Ordering::SeqCst);
        drop(producer);
        backend.forget();
        tasks.run();
    });
}
