//! aioproducer on tokio: the clock, the timer and the task of a producer, and everything an application names.
//!
//! ```
//! use aioproducer_tokio::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = EmbeddedBroker::start()?;
//! let mut config = ClientConfig::new();
//! config.set("bootstrap.servers", broker.bootstrap_servers());
//!
//! let producer = AioProducer::builder(Librdkafka::new(config)).start(Tokio::current()?)?;
//! let report = producer.send(Record::to("greetings").key("en").payload("hello")).await?;
//! assert_eq!((report.topic(), report.offset()), ("greetings", 0));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use std::task::{Context, Poll};

pub use aioproducer_driver::*;
#[cfg(feature = "rdkafka")]
pub use aioproducer_rdkafka::*;
use tokio::runtime::{Handle, TryCurrentError};
use tokio::task::{self, coop};
use tokio::time;

/// A tokio runtime as a producer's [`Runtime`]. Paused time is honoured: deadlines follow tokio's clock.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    origin: time::Instant,
}

impl Tokio {
    /// The runtime of the calling task.
    ///
    /// # Errors
    /// When called outside of a tokio runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Ok(Self::new(Handle::try_current()?))
    }

    /// The runtime of `handle`, whose time driver must be enabled.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        let origin = {
            let _entered = handle.enter();
            time::Instant::now()
        };
        Self { handle, origin }
    }
}

impl Runtime for Tokio {
    fn now(&self) -> Instant {
        Instant::after_origin(time::Instant::now().saturating_duration_since(self.origin))
    }

    fn sleep_until(&self, at: Instant) -> Task {
        let _entered = self.handle.enter();
        match self.origin.checked_add(at.since_origin()) {
            Some(at) => Box::pin(time::sleep_until(at)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn spawn(&self, task: Task) {
        drop(self.handle.spawn(task));
    }

    /// tokio's own, which the task shares with all that it awaits of tokio.
    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        match coop::poll_proceed(cx) {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(budget) => {
                budget.made_progress();
                // What is no task of tokio's has no budget: another executor's, or one in `block_on`.
                task::try_id().map(|_| Poll::Ready(()))
            }
        }
    }
}
