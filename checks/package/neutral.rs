//! Without default features: a runtime and a backend of the application's own. The backend delivers each record at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time;
use std::time::Duration;

use aioproducer::backend::{Backend, BackendLimits, Connect, Delivered, Driver, Outcome, OwnedRecord, Report};
use aioproducer::runtime::{Instant, Runtime, Task};
use aioproducer::{AioProducer, Record};

/// Has a thread for each task, and timers that never end.
struct Threads(time::Instant);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

impl Runtime for Threads {
    fn now(&self) -> Instant {
        Instant::after_origin(self.0.elapsed())
    }

    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(pending())
    }

    fn spawn(&self, task: Task) {
        thread::spawn(|| block_on(task));
    }
}

/// Counts offsets.
struct Counting;

/// A thread that delivers when it is woken, and ends when asked to.
struct Worker(mpsc::Sender<Ask>);

enum Ask {
    Deliver,
    End,
}

impl Connect<OwnedRecord> for Counting {
    type Error = Infallible;

    fn limits(&mut self, _: Option<Duration>) -> Result<BackendLimits, Infallible> {
        Ok(BackendLimits {
            delivery_timeout: None,
            linger: Duration::ZERO,
            record_bytes: 1000,
            record_overhead: 0,
            record_setting: None,
            availability_timeout: None,
            transactional: false,
        })
    }

    fn connect<D: Driver<OwnedRecord>>(self, driver: Arc<D>, _: usize) -> Result<Arc<dyn Backend>, Infallible> {
        let (worker, asked) = mpsc::channel();
        thread::spawn(move || {
            let mut next = 0;
            // A worker is woken only after it has asked once and found nothing.
            deliver(&*driver, &mut next);
            while let Ok(Ask::Deliver) = asked.recv() {
                deliver(&*driver, &mut next);
            }
            driver.ended();
        });
        Ok(Arc::new(Worker(worker)))
    }
}

/// Takes what there is; its offsets begin with `next`.
fn deliver(driver: &impl Driver<OwnedRecord>, next: &mut i64) {
    let mut taken = Vec::new();
    while let Some(batch) = driver.take(&mut taken) {
        driver.settle(batch, std::iter::empty());
        // Not in the iterator below: the driver advances that under its lock.
        let (slots, mut records): (Vec<_>, Vec<_>) = taken.drain(..).unzip();
        driver.release(&mut records);
        let reports = slots.into_iter().map(|slot| {
            let delivered = Delivered::new(0, Some(*next), None);
            *next += 1;
            Report { slot, outcome: Outcome::Delivered(delivered) }
        });
        driver.report(reports);
    }
}

/// A thread that has ended is asked for nothing.
impl Backend for Worker {
    fn wake(&self) {
        drop(self.0.send(Ask::Deliver));
    }

    fn flush(&self) {}

    fn purge(&self, _: bool, _: bool) {}

    fn shut_down(&self) {
        drop(self.0.send(Ask::End));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let producer = AioProducer::builder(Counting).start(Threads(time::Instant::now()))?;
    let mut offsets = BTreeMap::new();
    for fruit in ["apples", "pears"] {
        let report = block_on(producer.send(Record::to("orders").payload(fruit)))?;
        offsets.insert(fruit, report.offset());
    }
    assert_eq!(offsets, BTreeMap::from([("apples", Some(0)), ("pears", Some(1))]));
    assert!(block_on(producer.close(Duration::from_secs(10))).is_complete());
    println!("{offsets:?}");
    Ok(())
}
