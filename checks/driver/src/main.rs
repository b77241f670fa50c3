//! Produce, take, settle, release, report and await, on one thread: rounds of 500 records, as many as the argument says.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Delivered, Driver, Outcome, Report};
use aioproducer_driver::record::OwnedRecord;
use aioproducer_driver::{AioProducer, Record};

use self::still::Still;

#[path = "../../../adapters/driver/tests/still/mod.rs"]
mod still;

/// Records that are accepted before the backend runs.
const RECORDS: usize = 500;

type Step = Box<dyn FnMut() + Send>;

/// A backend that delivers what it takes, on demand.
#[derive(Clone, Default)]
struct Obliging(Arc<Mutex<Option<Step>>>);

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
        let (mut records, mut slots, mut freed) = (Vec::new(), Vec::new(), Vec::new());
        *self.0.lock().unwrap() = Some(Box::new(move || {
            while let Some(batch) = driver.take(&mut records) {
                driver.settle(batch, std::iter::empty());
                for (slot, record) in records.drain(..) {
                    slots.push(slot);
                    freed.push(record);
                }
                driver.release(&mut freed);
                let at = Delivered::new(0, Some(0), Some(0));
                driver.report(slots.drain(..).map(|slot| Report { slot, outcome: Outcome::Delivered(at) }));
            }
        }));
        Ok(Arc::new(Still))
    }
}

fn main() {
    let rounds: usize = std::env::args().nth(1).expect("how many rounds").parse().expect("a number of rounds");
    let backend = Obliging::default();
    let producer = AioProducer::builder(backend.clone()).start(Still).unwrap();
    let mut step = backend.0.lock().unwrap().take().unwrap();
    let mut deliveries = Vec::with_capacity(RECORDS);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..rounds {
        for _ in 0..RECORDS {
            deliveries.push(producer.try_produce(Record::to("t").payload(b"1234567890")).unwrap());
        }
        step();
        for mut delivery in deliveries.drain(..) {
            // From time to time another task runs first.
            while Pin::new(&mut delivery).poll(&mut cx).is_pending() {}
        }
    }
}
