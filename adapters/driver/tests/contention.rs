//! Many threads and a pool that is always about to be full.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Delivered, Driver, Outcome, Report};
use aioproducer_driver::record::OwnedRecord;
use aioproducer_driver::{AioProducer, ProduceError, Record};

use self::still::Still;

mod still;

/// A backend whose one worker delivers whatever it takes.
#[derive(Clone, Default)]
struct Obliging(Arc<(Mutex<bool>, Condvar, AtomicBool)>);

impl Connect<OwnedRecord> for Obliging {
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

    fn connect<E: Driver<OwnedRecord>>(self, driver: Arc<E>, _: usize) -> Result<Arc<dyn Backend>, Infallible> {
        let worker = self.clone();
        thread::spawn(move || {
            let (woken, condition, ended) = &*worker.0;
            let mut records = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let Some(batch) = driver.take(&mut records) else {
                    let asleep = |woken: &mut bool| !*woken && !ended.load(Ordering::Relaxed);
                    *condition.wait_while(woken.lock().unwrap(), asleep).unwrap() = false;
                    continue;
                };
                driver.settle(batch, std::iter::empty());
                let at = Delivered::new(0, Some(0), Some(0));
                driver.report(records.drain(..).map(|(slot, _)| Report { slot, outcome: Outcome::Delivered(at) }));
            }
            driver.ended();
        });
        Ok(Arc::new(self))
    }
}

impl Backend for Obliging {
    fn wake(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }

    fn flush(&self) {}
    fn purge(&self, _queued: bool, _in_flight: bool) {}

    fn shut_down(&self) {
        self.0.2.store(true, Ordering::Relaxed);
        self.wake();
    }
}

/// Accepts records as fast as there is room for them, and returns how many of them failed.
fn press(producer: &AioProducer, records: usize) -> usize {
    let mut deliveries = Vec::with_capacity(records);
    while deliveries.len() < records {
        match producer.try_produce(Record::to("t").payload(b"1234567890")) {
            Ok(delivery) => deliveries.push(delivery),
            Err(ProduceError::Full(_)) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
    let mut failed = 0;
    for mut delivery in deliveries {
        loop {
            match Pin::new(&mut delivery).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => thread::yield_now(),
                Poll::Ready(outcome) => break failed += usize::from(outcome.is_err()),
            }
        }
    }
    failed
}

#[test]
fn s02_what_is_accepted_has_a_slot_and_bytes_however_many_press_in() {
    for (slots, bytes) in [(1, 10_000), (3, 10_000), (40, 10_000), (700, 10_000_000), (1000, 2000)] {
        let backend = Obliging::default();
        let builder =
            AioProducer::builder(backend).slots(slots).pool_bytes(bytes).batch_bytes(1000).lanes(slots.min(4));
        let producer = builder.start(Still).unwrap();
        let failed: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| press(&producer, 30_000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(failed, 0, "{slots} slots, {bytes} bytes");
        assert!(producer.statistics().high_water <= slots);
    }
}
