//! A backend that delivers at once, on the producing thread, so that no call ever waits.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aioproducer_core::backend::{
    Backend, BackendLimits, Connect, Delivered, Driver, Message, Outcome, Report, Request,
};

/// The backend before it is connected.
#[derive(Clone, Copy, Debug)]
pub struct Immediate;

/// The backend of a running producer.
struct Connected {
    deliver: Box<dyn Fn() + Send + Sync>,
    end: Box<dyn Fn() + Send + Sync>,
}

impl<R: Message> Connect<R> for Immediate {
    type Error = Infallible;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
        Ok(BackendLimits {
            delivery_timeout,
            linger: Duration::ZERO,
            record_bytes: 1_000_000,
            record_overhead: 0,
            record_setting: None,
            availability_timeout: None,
            transactional: false,
        })
    }

    fn is_real_time(&self) -> bool {
        false
    }

    fn connect<E: Driver<R>>(self, driver: Arc<E>, _capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
        deliver(&*driver);
        // The producer owns the backend.
        let (one, other) = (Arc::downgrade(&driver), Arc::downgrade(&driver));
        let deliver = move || with(&one, |driver| deliver(driver));
        let end = move || with(&other, |driver| driver.ended());
        Ok(Arc::new(Connected { deliver: Box::new(deliver), end: Box::new(end) }))
    }
}

fn with<E>(driver: &Weak<E>, what: impl Fn(&E)) {
    if let Some(driver) = driver.upgrade() {
        what(&driver);
    }
}

/// Takes all records and reports them as delivered.
fn deliver<R: Message, E: Driver<R>>(driver: &E) {
    let mut records = Vec::new();
    while let Some(batch) = driver.take(&mut records) {
        driver.settle(batch, std::iter::empty());
        let at = Delivered::new(0, Some(0), Some(0));
        driver.report(records.drain(..).map(|(slot, _)| Report { slot, outcome: Outcome::Delivered(at) }));
    }
}

impl Backend for Connected {
    fn wake(&self) {
        (self.deliver)();
    }

    fn flush(&self) {}

    fn purge(&self, _queued: bool, _in_flight: bool) {}

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        Err(request)
    }

    fn shut_down(&self) {
        (self.end)();
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").finish_non_exhaustive()
    }
}
