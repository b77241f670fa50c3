//! One run of a scenario, as the scenario holds it.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use aioproducer_driver::AioProducer;

use super::plan::Plan;
use crate::api::SimCluster;
use crate::executor::{Joined, Sim};
use crate::log::LogRecord;
use crate::sync::{Arc, Mutex, lock};

/// The key by which a record of the log has to be unique.
type KeyOf = Box<dyn Fn(&LogRecord) -> Option<String> + Send>;

/// One run of a scenario of [`check`](crate::check): its cluster, its clock, and what it expects. Clones are the same run.
///
/// ```
/// use aioproducer_driver::{Record, error::Status};
/// use aioproducer_sim::{Case, Plan, check};
///
/// async fn orders(case: Case) {
///     let producer = case.producer();
///     let outcome = producer.produce(Record::to("orders").payload("two apples")).await.unwrap().await;
///     case.sometimes(outcome.is_ok(), "an order is placed");
///     case.always(!outcome.is_err_and(|error| error.status() == Status::Persisted), "a placed order is no error");
/// }
///
/// check(Plan::swarm().topic("orders", 3).seeds(0..10), orders);
/// ```
#[derive(Clone)]
pub struct Case(Arc<Inner>);

struct Inner {
    sim: Sim,
    cluster: SimCluster,
    delivery_timeout: Duration,
    idempotent: bool,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    producers: Vec<AioProducer>,
    sometimes: Vec<(&'static str, &'static Location<'static>, bool)>,
    broken: Option<String>,
    once: Vec<(KeyOf, &'static Location<'static>)>,
}

impl Case {
    pub(super) fn new(plan: &Plan, sim: Sim, cluster: SimCluster) -> Self {
        let (delivery_timeout, idempotent) = (plan.delivery_timeout, plan.idempotent);
        Self(Arc::new(Inner { sim, cluster, delivery_timeout, idempotent, inside: Mutex::default() }))
    }

    /// The executor: its clock, its tasks, its randomness.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.0.sim
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &SimCluster {
        &self.0.cluster
    }

    /// A new producer with the plan's settings. The run ends when each of its records has an outcome.
    ///
    /// # Panics
    /// Never: these settings are valid.
    #[must_use]
    pub fn producer(&self) -> AioProducer {
        let backend = self.0.cluster.backend().idempotence(self.0.idempotent);
        let builder = AioProducer::builder(backend).delivery_timeout(self.0.delivery_timeout);
        let producer = builder.start(self.0.sim.clone()).expect("settings that are valid");
        self.watch(&producer);
        producer
    }

    /// Has the run wait for a producer that the scenario has built itself.
    pub fn watch(&self, producer: &AioProducer) {
        lock(&self.0.inside).producers.push(producer.clone());
    }

    /// Runs a task; it has to end before the scenario does.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Joined<T> {
        self.0.sim.spawn(future)
    }

    /// What has to be true in each run. The run fails if it is not.
    #[track_caller]
    pub fn always(&self, condition: bool, what: &str) {
        if !condition {
            let place = Location::caller();
            lock(&self.0.inside).broken.get_or_insert_with(|| format!("NOT ALWAYS: {what} ({place})"));
        }
    }

    /// What has to be true in one run at least: a case that the check is to have seen.
    #[track_caller]
    pub fn sometimes(&self, condition: bool, what: &'static str) {
        lock(&self.0.inside).sometimes.push((what, Location::caller(), condition));
    }

    /// At the end of the run, no two records of the logs may have the same key. `None` leaves a record out.
    #[track_caller]
    pub fn expect_once(&self, key: impl Fn(&LogRecord) -> Option<String> + Send + 'static) {
        lock(&self.0.inside).once.push((Box::new(key), Location::caller()));
    }

    pub(super) fn delivery_timeout(&self) -> Duration {
        self.0.delivery_timeout
    }

    pub(super) fn producers(&self) -> Vec<AioProducer> {
        lock(&self.0.inside).producers.clone()
    }

    pub(super) fn seen(&self) -> Vec<(&'static str, &'static Location<'static>, bool)> {
        lock(&self.0.inside).sometimes.clone()
    }

    /// What is broken at the end of the run.
    pub(super) fn broken(&self) -> Option<String> {
        let mut inside = lock(&self.0.inside);
        let once = std::mem::take(&mut inside.once);
        if let Some(broken) = inside.broken.take() {
            return Some(broken);
        }
        drop(inside);
        let logs = self.0.cluster.logs();
        once.iter().find_map(|(key, place)| doubled(&logs, key).map(|doubled| format!("{doubled} ({place})")))
    }
}

/// The first key that two records have.
fn doubled(logs: &[(Arc<str>, LogRecord)], key: &KeyOf) -> Option<String> {
    let mut seen = BTreeMap::new();
    let at = |topic: &str, record: &LogRecord| format!("{topic}/{}@{}", record.partition(), record.offset());
    for (topic, record) in logs {
        let Some(key) = key(record) else { continue };
        let place = at(topic, record);
        if let Some(first) = seen.get(&key) {
            return Some(format!("DUPLICATE: {key:?} is in the log at {first} and at {place}"));
        }
        seen.insert(key, place);
    }
    None
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("sim", &self.0.sim).finish_non_exhaustive()
    }
}
