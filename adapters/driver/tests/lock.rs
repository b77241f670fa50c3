//! What must not happen under the producer's lock, what must not spin, and what one poll must not do at length.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Driver, ErrorCode, Outcome, Report};
use aioproducer_driver::error::{Failure, FailureKind, Status};
use aioproducer_driver::record::OwnedRecord;
use aioproducer_driver::runtime::{Instant, Task};
use aioproducer_driver::{AioProducer, Overflow, Record, Runtime};

use self::still::Still;

mod still;

/// The largest record, in bytes.
const LARGE: usize = 100 << 10;

/// Hands off one batch and fails all of it.
type FailBatch = Box<dyn Fn() + Send>;

/// What happens just before a report arrives.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// A backend that works when the test says so.
#[derive(Clone, Default)]
struct ByHand(Arc<Mutex<Option<FailBatch>>>, Arc<Mutex<Option<Meanwhile>>>);

impl Connect<OwnedRecord> for ByHand {
    type Error = Infallible;

    fn limits(&mut self, _: Option<Duration>) -> Result<BackendLimits, Infallible> {
        Ok(BackendLimits {
            delivery_timeout: None,
            linger: Duration::ZERO,
            record_bytes: LARGE,
            record_overhead: 0,
            record_setting: None,
            availability_timeout: None,
            transactional: false,
        })
    }

    fn connect<E: Driver<OwnedRecord>>(self, driver: Arc<E>, _: usize) -> Result<Arc<dyn Backend>, Infallible> {
        let Self(step, meanwhile) = self;
        *step.lock().unwrap() = Some(Box::new(move || {
            let mut records = Vec::new();
            let batch = driver.take(&mut records).expect("a batch is ready");
            driver.settle(batch, std::iter::empty());
            let (kind, status) = (FailureKind::Broker, Status::NotPersisted);
            let failure = Failure::new(kind, status, Some(ErrorCode::OffsetOutOfRange), "refused");
            driver.report(records.drain(..).map(|(slot, record)| {
                if let Some(meanwhile) = meanwhile.lock().unwrap().take() {
                    meanwhile();
                }
                Report { slot, outcome: Outcome::Failed(failure, record) }
            }));
        }));
        Ok(Arc::new(Still))
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn s28_who_waits_for_a_lane_is_not_woken_for_nothing() {
    let backend = ByHand::default();
    let producer = AioProducer::builder(backend.clone()).lanes(1).start(Still).unwrap();
    drop(producer.try_produce(Record::to("a")).unwrap());
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut waiting = producer.produce(Record::to("b"));
    for _ in 0..5 {
        assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    backend.0.lock().unwrap().as_ref().unwrap()();
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "the lane is free");
    assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn s23_a_flush_that_was_woken_is_done_while_later_records_are_reported() {
    let backend = ByHand::default();
    let producer: &AioProducer = Box::leak(Box::new(AioProducer::builder(backend.clone()).start(Still).unwrap()));
    let step = || backend.0.lock().unwrap().as_ref().unwrap()();
    drop(producer.try_produce(Record::to("a")).unwrap());
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut flush = Box::pin(producer.flush());
    assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    step();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    drop(producer.try_produce(Record::to("a")).unwrap());
    let (sender, seen) = mpsc::channel();
    *backend.1.lock().unwrap() = Some(Box::new(move || {
        let polled = flush.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        sender.send(polled.is_ready()).unwrap();
    }));
    step();
    assert_eq!(seen.try_recv(), Ok(true));
}

/// Memory of a payload whose owner looks at the producer when it goes, as an application's may.
struct Owner(AioProducer, mpsc::Sender<usize>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        b"payload"
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.1.send(self.0.len()).unwrap();
    }
}

#[test]
fn s28_a_failed_record_that_is_not_awaited_is_dropped_without_the_lock() {
    let backend = ByHand::default();
    let producer = AioProducer::builder(backend.clone()).start(Still).unwrap();
    let (sender, seen) = mpsc::channel();
    let owned = |sender: &mpsc::Sender<usize>| bytes::Bytes::from_owner(Owner(producer.clone(), sender.clone()));
    drop(producer.try_produce(Record::to("a").payload(owned(&sender))).unwrap());
    let mut all = producer.produce_all([Record::to("a").payload(owned(&sender))]);
    assert!(Pin::new(&mut all).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(all);
    let reporting = std::thread::spawn(move || backend.0.lock().unwrap().as_ref().unwrap()());
    for _ in 0..2 {
        assert_eq!(seen.recv_timeout(Duration::from_secs(30)), Ok(0), "the owner's drop waits for the lock");
    }
    reporting.join().unwrap();
}

/// A runtime that keeps the tasks that it is given.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<Task>>>);

impl Runtime for Tasks {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, at: Instant) -> Task {
        Still.sleep_until(at)
    }

    fn spawn(&self, task: Task) {
        self.0.lock().unwrap().push(task);
    }
}

/// A task whose waker looks at the producer when its last clone is dropped.
struct Looking(AioProducer, mpsc::Sender<usize>);

impl Wake for Looking {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Looking {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.statistics().callbacks_waiting);
    }
}

#[test]
fn s28_wakers_of_callbacks_runners_are_dropped_without_a_lock() {
    let (backend, runtime) = (ByHand::default(), Tasks::default());
    let producer = AioProducer::builder(backend.clone()).start(runtime.clone()).unwrap();
    producer.try_produce_with(Record::to("a"), drop).unwrap();
    backend.0.lock().unwrap().as_ref().unwrap()();
    // The probe of the start, the driver's task and the callbacks' runner.
    let mut runner = runtime.0.lock().unwrap().pop().expect("a runner was started");
    let (sender, seen) = mpsc::channel();
    let polling = std::thread::spawn(move || {
        for _ in 0..3 {
            let waker = Waker::from(Arc::new(Looking(producer.clone(), sender.clone())));
            assert!(runner.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    });
    for _ in 0..2 {
        assert_eq!(seen.recv_timeout(Duration::from_secs(30)), Ok(0), "the waker's drop waits for a lock");
    }
    polling.join().unwrap();
}

#[test]
fn s28_large_records_are_copied_a_few_in_each_poll() {
    let producer = AioProducer::builder(ByHand::default()).start(Still).unwrap();
    let payload = vec![7; LARGE];
    let mut all = producer.produce_all((0..20).map(|_| Record::to("a").payload(&payload)));
    for polls in 1..=20 {
        let before = producer.len();
        assert!(Pin::new(&mut all).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(producer.len() - before <= 2, "{} in one poll", producer.len() - before);
        if producer.len() == 20 {
            assert!(polls >= 10);
            return;
        }
    }
    panic!("{} of 20 in 20 polls", producer.len());
}

/// Long payloads are copied before the lock is taken.
#[test]
fn s01_a_long_record_is_copied_once_and_not_while_it_waits() {
    let producer = AioProducer::builder(ByHand::default()).pool_bytes(LARGE).start(Still).unwrap();
    let payload = vec![7; LARGE];
    let record = || Record::to("a").payload(&payload);
    let accepted = allocation_counter::measure(|| drop(producer.try_produce(record()).unwrap()));
    assert!((LARGE as u64..2 * LARGE as u64).contains(&accepted.bytes_total), "{accepted:?}");
    let waits = allocation_counter::measure(|| {
        let mut waiting = producer.produce(record());
        for _ in 0..3 {
            assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    });
    assert!(waits.bytes_total < LARGE as u64, "{waits:?}");
}

/// An allocator that is given back thousands of small blocks puts them together in one long call, which may be in a poll.
#[test]
fn s28_failed_records_use_memory_again() {
    let builder = AioProducer::builder(ByHand::default()).slots(100).overflow(Overflow::DropNewest);
    let producer = builder.start(Still).unwrap();
    let topic = producer.topic("a").unwrap();
    let record = || Record::to(&topic).payload(b"payload").key(b"key");
    let _fill: Vec<_> = (0..100).map(|_| producer.try_produce(record()).unwrap()).collect();
    let mut failed = Vec::with_capacity(100);
    let mut fail = || {
        for _ in 0..100 {
            let mut delivery = producer.try_produce(record()).unwrap();
            match Pin::new(&mut delivery).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Err(error)) => failed.push(error),
                other => panic!("{other:?}"),
            }
        }
        for error in failed.drain(..) {
            assert_eq!(error.into_record(), Some(record()));
        }
    };
    fail();
    // What is noted for spans and metrics takes memory, two lists for each call.
    let noted = if cfg!(any(feature = "tracing", feature = "metrics")) { 200 } else { 0 };
    assert!(allocation_counter::measure(fail).count_total <= noted);
}
