//! The driver's side of a client.

use std::convert::Infallible;
use std::time::Duration;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{
    Backend, BackendLimits, BackgroundTask, Clock, Connect, Connections, Driver, Journal, Message, Placement, Request,
};

use super::known::Known;
use super::mailbox::Mailbox;
use super::settings::SimBackend;
use super::start::Starting;
use super::task::ClientTask;
use crate::cluster::Shared;
use crate::journal::ProducerJournal;
use crate::log::RECORD_OVERHEAD;
use crate::sync::{Arc, Weak, lock};

/// Kafka's default, and librdkafka's.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

struct Running<R, D> {
    /// It owns this.
    driver: Weak<D>,
    cluster: Shared,
    known: Arc<Known>,
    mailbox: Arc<Mailbox>,
    record: std::marker::PhantomData<fn(R)>,
}

impl<R: Message> Connect<R> for SimBackend {
    type Error = Infallible;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
        let settings = &mut self.settings;
        let mut timeout = delivery_timeout.unwrap_or(DELIVERY_TIMEOUT);
        if settings.is_transactional() {
            timeout = timeout.min(settings.transaction_timeout);
        }
        settings.delivery_timeout = Some(timeout);
        if let Some(journals) = &mut self.cluster.lock().journals {
            let journal = Arc::new(ProducerJournal::new(Arc::clone(&journals.time), timeout));
            journals.list.push(Arc::clone(&journal));
            self.journal = Some(journal);
        }
        Ok(BackendLimits {
            delivery_timeout: Some(timeout),
            linger: Duration::ZERO,
            record_bytes: settings.record_bytes,
            record_overhead: RECORD_OVERHEAD,
            record_setting: Some("SimBackend::record_bytes"),
            availability_timeout: None,
            transactional: settings.is_transactional(),
        })
    }

    /// Brokers and the way to them have the clock of the runtime.
    fn is_real_time(&self) -> bool {
        false
    }

    fn background(&mut self, clock: &Arc<dyn Clock>) -> Vec<BackgroundTask> {
        *lock(&self.start.clock) = Some(Arc::clone(clock));
        vec![Box::pin(Starting { start: Arc::clone(&self.start), task: None })]
    }

    fn journal(&mut self) -> Option<Arc<dyn Journal>> {
        Some(self.journal.clone()?)
    }

    fn connect<D: Driver<R>>(self, driver: Arc<D>, _capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
        let Self { cluster, settings, start, journal } = self;
        let (known, mailbox) = (Arc::default(), Arc::default());
        let clock = lock(&start.clock).take();
        // Without a clock no task was asked for, so none would run.
        if let Some(clock) = clock {
            let (own, mail) = (Arc::clone(&driver), Arc::clone(&mailbox));
            let task = ClientTask::new(own, cluster.clone(), settings, &clock, Arc::clone(&known), mail);
            if let Some(journal) = journal {
                journal.belongs_to(task.producer);
            }
            *lock(&start.task) = Some(Box::pin(task));
        }
        Ok(Arc::new(Running {
            driver: Arc::downgrade(&driver),
            cluster,
            known,
            mailbox,
            record: std::marker::PhantomData,
        }))
    }
}

impl<R: Message, D: Driver<R>> Backend for Running<R, D> {
    fn wake(&self) {
        self.mailbox.post(|mail| mail.is_woken = true);
    }

    fn place(&self, topic: TopicId, key: Option<&[u8]>, _value: Option<&[u8]>) -> Placement {
        let Some(driver) = self.driver.upgrade() else { return Placement::Unknown };
        self.known.place(&self.cluster, topic, || driver.topic_name(topic), key)
    }

    fn connections(&self) -> Option<Connections> {
        Some(self.cluster.lock().connections())
    }

    /// The client does not linger.
    fn flush(&self) {}

    fn purge(&self, queued: bool, in_flight: bool) {
        self.mailbox.post(|mail| {
            mail.purge.0 |= queued;
            mail.purge.1 |= in_flight;
        });
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        self.mailbox.call(request)
    }

    fn shut_down(&self) {
        self.mailbox.post(|mail| mail.shut_down = true);
    }
}
