//! The call that says whether records are delivered.

use super::producer::AioProducer;
use crate::observe::health::Health;

impl AioProducer {
    /// Whether records are delivered: for each leader, what waits for it, what it has left without an answer, and for how long. It
    /// comes from the producer's own counts, so it needs no statistics of librdkafka and asks no broker. It takes a time that grows
    /// with the partitions that are in use, and no lock for all of it.
    ///
    /// A leader that is paused, cut off or overloaded shows in [`LeaderHealth::unanswered_for`](crate::LeaderHealth::unanswered_for) at once, and is
    /// [unavailable](crate::LeaderHealth::is_unavailable) after the availability timeout. [`Health::oldest`] says whether all is well if
    /// one number is to do it: it stays below the time that a delivery takes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use aioproducer_driver::AioProducer;
    /// /// The answer of `/healthz`: an error as long as records do not get through.
    /// fn healthz(producer: &AioProducer) -> Result<(), String> {
    ///     let health = producer.health();
    ///     match health.oldest {
    ///         Some(age) if age > Duration::from_secs(10) => {
    ///             let brokers: Vec<_> = health.unavailable().filter_map(|leader| leader.broker).collect();
    ///             Err(format!("a record waits for {age:?}; brokers that do not answer: {brokers:?}"))
    ///         }
    ///         _ => Ok(()),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared().health()
    }
}
