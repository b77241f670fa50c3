//! A backend with chaos around it.

use std::fmt;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, BackgroundTask, Clock, Connect, Driver, Journal, Message};

use super::between::Between;
use super::counts::ChaosCounts;
use super::settings::Chaos;
use super::task::{ChaosTask, Running, Start};
use crate::sync::{Arc, lock};

/// A backend with [`Chaos`] around it: [`Chaos::around`].
///
/// ```
/// # use aioproducer_sim::{Around, Chaos, SimBackend, SimCluster};
/// let kafka = SimCluster::new().with_topic("orders", 3);
/// let backend: Around<SimBackend> = Chaos::seeded(7).around(kafka.backend());
/// assert_eq!(backend.counts().delays(), 0);
/// ```
#[must_use = "it does nothing until a producer is built with it"]
pub struct Around<B> {
    chaos: Chaos,
    backend: B,
    counts: ChaosCounts,
    start: Arc<Start>,
}

impl Chaos {
    /// A backend for [`AioProducer::builder`](aioproducer_driver::AioProducer::builder): `backend`, with this chaos around it.
    pub fn around<B>(self, backend: B) -> Around<B> {
        Around { chaos: self, backend, counts: ChaosCounts::default(), start: Arc::default() }
    }
}

impl<B> Around<B> {
    /// What happens from now on.
    #[must_use]
    pub fn counts(&self) -> ChaosCounts {
        self.counts.clone()
    }
}

impl<R: Message, B: Connect<R>> Connect<R> for Around<B> {
    type Error = B::Error;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, B::Error> {
        self.backend.limits(delivery_timeout)
    }

    fn is_real_time(&self) -> bool {
        self.backend.is_real_time()
    }

    fn journal(&mut self) -> Option<Arc<dyn Journal>> {
        self.backend.journal()
    }

    fn background(&mut self, clock: &Arc<dyn Clock>) -> Vec<BackgroundTask> {
        let mut tasks = self.backend.background(clock);
        tasks.push(Box::pin(ChaosTask::new(Arc::clone(clock), Arc::clone(&self.start))));
        tasks
    }

    fn connect<D: Driver<R>>(self, driver: Arc<D>, capacity: usize) -> Result<Arc<dyn Backend>, B::Error> {
        let Self { chaos, backend, counts, start } = self;
        let work = Arc::new(Between::new(driver, &chaos, &counts, Arc::clone(&start.signal)));
        let backend = backend.connect(Arc::clone(&work), capacity)?;
        *lock(&start.work) = Some(Running { work, backend: Arc::clone(&backend) });
        Ok(backend)
    }
}

impl<B> fmt::Debug for Around<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around").field("chaos", &self.chaos).field("counts", &self.counts).finish_non_exhaustive()
    }
}
