//! A backend and a runtime that work when a test says so, on the test's own thread.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Delivered, Driver, Message, Outcome, Report};
use aioproducer_driver::Runtime;
use aioproducer_driver::error::Failure;
use aioproducer_driver::record::OwnedRecord;
use aioproducer_driver::runtime::{Instant, Task};

use crate::still::Still;

/// A record's headers, as the backend sees them.
pub(crate) type Headers = Vec<(String, String)>;

type HandOff = Box<dyn Fn(Option<Failure>) -> Vec<Headers> + Send>;

/// What the test does with the producer's other end.
#[derive(Default)]
struct Link {
    hand_off: Option<HandOff>,
    alone: Option<Box<dyn Fn() -> bool + Send>>,
    follow: Option<Box<dyn Fn() + Send>>,
    fatal: Option<Box<dyn Fn(Failure) + Send>>,
    ended: Option<Box<dyn FnOnce() + Send>>,
}

#[derive(Clone, Default)]
pub(crate) struct ByHand(Arc<Mutex<Link>>);

impl ByHand {
    /// Hands off a batch. All of it fails, or is delivered to partition 3 from offset 40 on. Returns the headers.
    pub(crate) fn hand_off(&self, failure: Option<Failure>) -> Vec<Headers> {
        self.0.lock().unwrap().hand_off.as_ref().unwrap()(failure)
    }

    /// Hands off a batch of one record and reports its success at once. Whether the driver took that.
    #[allow(dead_code, reason = "not every test has use for it")]
    pub(crate) fn report_at_once(&self) -> bool {
        self.0.lock().unwrap().alone.as_ref().unwrap()()
    }

    /// What a worker does after a success that was reported at once.
    #[allow(dead_code, reason = "not every test has use for it")]
    pub(crate) fn follow(&self) {
        self.0.lock().unwrap().follow.as_ref().unwrap()();
    }

    /// Ends the producer's other end.
    #[allow(dead_code, reason = "not every test has use for it")]
    pub(crate) fn forget(&self) {
        let ended = self.0.lock().unwrap().ended.take();
        ended.unwrap()();
        *self.0.lock().unwrap() = Link::default();
    }

    #[allow(dead_code, reason = "not every test has use for it")]
    pub(crate) fn fatal(&self, failure: Failure) {
        self.0.lock().unwrap().fatal.as_ref().unwrap()(failure);
    }
}

impl Connect<OwnedRecord> for ByHand {
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
        let (fatal, ended) = (Arc::clone(&driver), Arc::clone(&driver));
        let (alone, follow) = (Arc::clone(&driver), Arc::clone(&driver));
        let report_alone = move || {
            let mut records = Vec::new();
            let batch = alone.take(&mut records).expect("a batch is ready");
            alone.settle(batch, std::iter::empty());
            let (slot, record) = records.pop().expect("a record");
            let delivered = Delivered::new(3, Some(40), None);
            let reported = alone.report_at_once(slot, delivered);
            if !reported {
                alone.report(std::iter::once(Report { slot, outcome: Outcome::Delivered(delivered) }));
            }
            drop(record);
            reported
        };
        let hand_off = move |failure: Option<Failure>| {
            let mut records = Vec::new();
            let batch = driver.take(&mut records).expect("a batch is ready");
            driver.settle(batch, std::iter::empty());
            let header = |(name, value): (&str, Option<&[u8]>)| {
                (name.to_owned(), String::from_utf8(value.unwrap_or_default().to_vec()).unwrap())
            };
            let headers = |(_, record): &(_, OwnedRecord)| {
                (0..record.header_count()).filter_map(|at| record.header(at)).map(header).collect()
            };
            let seen = records.iter().map(headers).collect();
            let reports = records.into_iter().zip(40..).map(|((slot, record), offset)| {
                let outcome = match failure {
                    None => Outcome::Delivered(Delivered::new(3, Some(offset), None)),
                    Some(failure) => Outcome::Failed(failure, record),
                };
                Report { slot, outcome }
            });
            driver.report(reports);
            seen
        };
        let mut link = self.0.lock().unwrap();
        link.hand_off = Some(Box::new(hand_off));
        link.alone = Some(Box::new(report_alone));
        link.follow = Some(Box::new(move || follow.report(std::iter::empty())));
        link.fatal = Some(Box::new(move |failure| fatal.fatal(failure)));
        link.ended = Some(Box::new(move || ended.ended()));
        drop(link);
        Ok(Arc::new(Still))
    }
}

/// A runtime whose tasks run in [`Tasks::run`].
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<Vec<Task>>>);

impl Tasks {
    /// Polls each task, and those that come by that.
    pub(crate) fn run(&self) {
        for _ in 0..3 {
            let tasks = std::mem::take(&mut *self.0.lock().unwrap());
            let mut cx = Context::from_waker(Waker::noop());
            let left =
                tasks.into_iter().filter_map(|mut task| task.as_mut().poll(&mut cx).is_pending().then_some(task));
            let left: Vec<_> = left.collect();
            self.0.lock().unwrap().extend(left);
        }
    }
}

impl Runtime for Tasks {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _at: Instant) -> Task {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: Task) {
        self.0.lock().unwrap().push(task);
    }
}
