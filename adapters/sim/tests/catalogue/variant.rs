//! The simulated client in other forms: two workers, reports that come twice, partitions that are not known at first, and an
//! availability timeout.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aioproducer_core::backend::{
    Answer, Backend, BackendLimits, BackgroundTask, CallError, CallId, Clock, Connect, Connections, Delivered, Driver,
    Failure, Journal, Message, Outcome, PartitionLoad, Placement, Report, Request, Severity, Trouble, Unsent,
};
use aioproducer_core::{Instant, MessageBatch, SlotId, TopicId};
use aioproducer_sim::SimBackend;

pub(crate) struct Variant {
    inner: SimBackend,
    clock: Option<Arc<dyn Clock>>,
    forms: Forms,
}

#[derive(Clone, Copy, Default)]
struct Forms {
    availability: Option<Duration>,
    has_two_workers: bool,
    reports_twice: bool,
    unplaced_until: Option<Instant>,
}

impl Variant {
    pub(crate) fn new(inner: SimBackend) -> Self {
        Self { inner, clock: None, forms: Forms::default() }
    }

    /// Partitions have shares of the pool, and those that do not answer for so long are unavailable.
    pub(crate) fn availability(mut self, timeout: Duration) -> Self {
        self.forms.availability = Some(timeout);
        self
    }

    /// Two batches are taken before the first is queued, and the later one is queued first.
    pub(crate) fn two_workers(mut self) -> Self {
        self.forms.has_two_workers = true;
        self
    }

    /// Each delivery is reported once more, before the next reports.
    pub(crate) fn reports_twice(mut self) -> Self {
        self.forms.reports_twice = true;
        self
    }

    /// The number of partitions is not known for so long.
    pub(crate) fn unplaced_for(mut self, duration: Duration) -> Self {
        self.forms.unplaced_until = Some(Instant::after_origin(duration));
        self
    }
}

impl<R: Message> Connect<R> for Variant {
    type Error = Infallible;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
        let limits = Connect::<R>::limits(&mut self.inner, delivery_timeout)?;
        Ok(BackendLimits { availability_timeout: self.forms.availability, ..limits })
    }

    fn is_real_time(&self) -> bool {
        false
    }

    fn journal(&mut self) -> Option<Arc<dyn Journal>> {
        Connect::<R>::journal(&mut self.inner)
    }

    fn background(&mut self, clock: &Arc<dyn Clock>) -> Vec<BackgroundTask> {
        self.clock = Some(Arc::clone(clock));
        Connect::<R>::background(&mut self.inner, clock)
    }

    fn connect<D: Driver<R>>(self, driver: Arc<D>, capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
        let Self { inner, clock, forms } = self;
        let between = Between { driver, forms, work: Mutex::new((VecDeque::new(), false)), before: Mutex::default() };
        let backend = inner.connect(Arc::new(between), capacity)?;
        Ok(Arc::new(Placing { backend, clock, unplaced_until: forms.unplaced_until }))
    }
}

type Work<R> = VecDeque<(MessageBatch, Vec<(SlotId, R)>)>;

/// Between the driver and the client.
struct Between<R, D> {
    driver: Arc<D>,
    forms: Forms,
    /// What the first worker has taken, and whether the second one found nothing.
    work: Mutex<(Work<R>, bool)>,
    /// What was reported last.
    before: Mutex<Vec<(SlotId, Delivered)>>,
}

impl<R: Message, D: Driver<R>> Driver<R> for Between<R, D> {
    fn take(&self, records: &mut Vec<(SlotId, R)>) -> Option<MessageBatch> {
        if !self.forms.has_two_workers {
            return self.driver.take(records);
        }
        let (work, rests) = &mut *self.work.lock().unwrap();
        if let Some((batch, taken)) = work.pop_front() {
            records.extend(taken);
            return Some(batch);
        }
        if std::mem::take(rests) {
            return None;
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let first = self.driver.take(&mut one)?;
        let Some(second) = self.driver.take(&mut other) else {
            *rests = true;
            records.extend(one);
            return Some(first);
        };
        work.push_back((first, one));
        records.extend(other);
        Some(second)
    }

    fn settle<I: Iterator<Item = Unsent<R>>>(&self, batch: MessageBatch, unsent: I) {
        self.driver.settle(batch, unsent);
    }

    fn release(&self, records: &mut Vec<R>) {
        self.driver.release(records);
    }

    fn report<I: Iterator<Item = Report<R>>>(&self, reports: I) {
        if !self.forms.reports_twice {
            return self.driver.report(reports);
        }
        let reports: Vec<_> = reports.collect();
        let delivered = |report: &Report<R>| match report.outcome {
            Outcome::Delivered(at) => Some((report.slot, at)),
            _ => None,
        };
        let now = reports.iter().filter_map(delivered).collect();
        let before = std::mem::replace(&mut *self.before.lock().unwrap(), now);
        let again = before.into_iter().map(|(slot, at)| Report { slot, outcome: Outcome::Delivered(at) });
        self.driver.report(again);
        self.driver.report(reports.into_iter());
    }

    fn is_flushing(&self) -> bool {
        self.driver.is_flushing()
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.driver.topic_name(topic)
    }

    fn fatal(&self, failure: Failure) {
        self.driver.fatal(failure);
    }

    fn set_trouble(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        self.driver.set_trouble(topic, trouble);
    }

    fn log(&self, severity: Severity, line: &str) {
        self.driver.log(severity, line);
    }

    fn connections_changed(&self) {
        self.driver.connections_changed();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        self.driver.complete_call(id, result);
    }

    fn ended(&self) {
        self.driver.ended();
    }
}

/// The client's other side, which may not know the partitions yet.
struct Placing {
    backend: Arc<dyn Backend>,
    clock: Option<Arc<dyn Clock>>,
    unplaced_until: Option<Instant>,
}

impl Backend for Placing {
    fn wake(&self) {
        self.backend.wake();
    }

    fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        let is_before = |until| self.clock.as_ref().is_some_and(|clock| clock.now() < until);
        if self.unplaced_until.is_some_and(is_before) {
            return Placement::Unknown;
        }
        self.backend.place(topic, key, value)
    }

    fn connections(&self) -> Option<Connections> {
        self.backend.connections()
    }

    fn loads(&self) -> Vec<PartitionLoad> {
        self.backend.loads()
    }

    fn flush(&self) {
        self.backend.flush();
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        self.backend.purge(queued, in_flight);
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        self.backend.call(request)
    }

    fn shut_down(&self) {
        self.backend.shut_down();
    }
}
