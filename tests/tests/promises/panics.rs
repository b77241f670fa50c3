//! S3, S20, S21, S34: application code that panics on a thread of the producer costs no record its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_driver::runtime::Task;
use aioproducer_driver::{AioProducer, PurgeScope, Record, Runtime};
use aioproducer_rdkafka::{Event, EventHandler, Partition, Partitioner, ToPartition};
use aioproducer_tests::executor::{AnyRuntime, Host};
use aioproducer_tests::scripted::Script;
use aioproducer_tests::{broker, promises};
use bytes::Bytes;

promises! {
    s03_an_owner_that_panics_when_it_is_dropped_costs_no_record_its_outcome,
    s03_many_owners_that_panic_at_once_end_no_process,
    s34_a_partitioner_that_panics_is_an_event_and_costs_no_other_record_its_outcome,
    s20_a_runtime_that_panics_is_asked_again,
    s20_a_runtime_that_always_panics_costs_no_record,
    s21_a_callback_that_panics_when_it_is_dropped_costs_no_record_its_outcome,
}

const LONG: Duration = Duration::from_secs(50);

/// Memory whose owner panics when it is dropped.
struct Boom([u8; 1024]);

impl AsRef<[u8]> for Boom {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Boom {
    fn drop(&mut self) {
        panic!("an owner that panics, as the test has it");
    }
}

fn bomb() -> Record<'static> {
    Record::to("t").payload(Bytes::from_owner(Boom([7; 1024])))
}

/// Everything still works.
async fn is_well(producer: &AioProducer) {
    producer.send(Record::to("t").payload("after")).await.expect("delivered");
    producer.flush().await.expect("flushed");
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(producer.statistics().in_use, 0);
}

async fn s03_an_owner_that_panics_when_it_is_dropped_costs_no_record_its_outcome(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = broker::backend(&broker);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    for _ in 0..3 {
        producer.send(bomb()).await.expect("delivered");
    }
    let mixed = (0..20).map(|n| if n % 3 == 0 { bomb() } else { Record::to("t").payload("bystander") });
    let outcomes = producer.produce_all(mixed).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    is_well(&producer).await;
    assert_eq!(producer.statistics().panics_caught, 3 + 7);
    let mut panics = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Panicked { code, total } = event {
            panics.push((code, total));
        }
    }
    // While the broker was silent for a moment, as before the first answer, a copy of the record is kept, which is dropped last.
    let codes = ["a payload's owner", "what a record, an error or a waker holds"];
    assert!(panics.iter().all(|(code, _)| codes.contains(code)), "{panics:?}");
    assert!(panics.iter().map(|(_, total)| *total).eq(1..=10), "{panics:?}");
}

/// Counts the events about panics.
#[derive(Default)]
struct PanicCount {
    events: Arc<AtomicUsize>,
}

impl EventHandler for PanicCount {
    fn on_panicked(&self, code: &'static str, total: u64) {
        assert_eq!((code, total), ("the partitioner", 1));
        self.events.fetch_add(1, Ordering::SeqCst);
    }
}

struct Rule;

impl Partition for Rule {
    fn partition(&self, _: ToPartition<'_>) -> i32 {
        panic!("a partitioner that panics, as the test has it");
    }
}

async fn s34_a_partitioner_that_panics_is_an_event_and_costs_no_other_record_its_outcome(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let counter = PanicCount::default();
    let events = Arc::clone(&counter.events);
    let backend = broker::backend(&broker).partitioner(Partitioner::Custom(Arc::new(Rule))).on_event(counter);
    let producer = host.start(AioProducer::builder(backend));
    assert!(producer.send(Record::to("t").key("k").payload("x")).await.is_err());
    host.until(|| events.load(Ordering::SeqCst) == 1).await;
    is_well(&producer).await;
}

async fn s03_many_owners_that_panic_at_once_end_no_process(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let deliveries: Vec<_> = (0..5).map(|_| producer.try_produce(bomb()).expect("accepted")).collect();
    drop(deliveries);
    // Their deliveries are gone, so they are dropped where they fail.
    producer.purge(PurgeScope::All).await;
    script.serve(&host);
    is_well(&producer).await;
}

/// A runtime whose `spawn` panics a number of times.
struct Touchy {
    runtime: AnyRuntime,
    panics: Arc<AtomicUsize>,
    drops: Arc<AtomicUsize>,
}

fn one_less(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

impl Runtime for Touchy {
    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep_until(&self, at: Instant) -> Task {
        self.runtime.sleep_until(at)
    }

    fn spawn(&self, task: Task) {
        assert!(!one_less(&self.panics), "a runtime that panics, as the test has it");
        if !one_less(&self.drops) {
            self.runtime.spawn(task);
        }
    }
}

impl Touchy {
    fn new(host: &Host) -> Self {
        Self { runtime: host.runtime(), panics: Arc::default(), drops: Arc::default() }
    }
}

async fn s20_a_runtime_that_panics_is_asked_again(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let runtime = Touchy::new(&host);
    let panics = Arc::clone(&runtime.panics);
    let producer = AioProducer::builder(broker::backend(&broker)).start(runtime).expect("it starts");
    panics.store(1, Ordering::SeqCst);
    let called = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let called = Arc::clone(&called);
        let count = move |_| {
            called.fetch_add(1, Ordering::SeqCst);
        };
        producer.produce_with(Record::to("t").payload("x"), count).await.expect("accepted");
    }
    host.until(|| called.load(Ordering::SeqCst) == 3).await;
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    is_well(&producer).await;
    assert_eq!(producer.statistics().panics_caught, 1);
}

async fn s20_a_runtime_that_always_panics_costs_no_record(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let runtime = Touchy::new(&host);
    let panics = Arc::clone(&runtime.panics);
    let producer = AioProducer::builder(broker::backend(&broker)).start(runtime).expect("it starts");
    panics.store(usize::MAX, Ordering::SeqCst);
    producer.produce_with(Record::to("t").payload("x"), |_| ()).await.expect("accepted");
    is_well(&producer).await;
}

/// Panics when it is dropped.
struct Token;

impl Drop for Token {
    fn drop(&mut self) {
        panic!("a callback that panics, as the test has it");
    }
}

async fn s21_a_callback_that_panics_when_it_is_dropped_costs_no_record_its_outcome(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let runtime = Touchy::new(&host);
    // A runtime that has ended drops its tasks.
    let drops = Arc::clone(&runtime.drops);
    let producer = AioProducer::builder(broker::backend(&broker)).start(runtime).expect("it starts");
    drops.store(usize::MAX, Ordering::SeqCst);
    for _ in 0..3 {
        let token = Token;
        producer.produce_with(Record::to("t").payload("x"), move |_| drop(token)).await.expect("accepted");
    }
    is_well(&producer).await;
}
