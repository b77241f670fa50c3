//! One run of a scenario, as the scenario holds it.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use aioproducer_driver::AioProducer;
use aioproducer_history::Allow;

use super::expect::{Logged, doubled, reordered};
use super::plan::Plan;
use crate::api::SimCluster;
use crate::executor::{Joined, Sim};
use crate::log::LogRecord;
use crate::sync::{Arc, Mutex, lock};

/// What is expected of the logs; says what is not as expected.
type Expectation = Box<dyn Fn(&[Logged]) -> Option<String> + Send>;

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
    slots: usize,
    allow: Allow,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    producers: Vec<AioProducer>,
    sometimes: Vec<(&'static str, &'static Location<'static>, bool)>,
    broken: Option<String>,
    expected: Vec<(Expectation, &'static Location<'static>)>,
}

impl Case {
    pub(super) fn new(plan: &Plan, sim: Sim, cluster: SimCluster) -> Self {
        let Plan { delivery_timeout, idempotent, slots, allow, .. } = *plan;
        Self(Arc::new(Inner { sim, cluster, delivery_timeout, idempotent, slots, allow, inside: Mutex::default() }))
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

    /// A new producer with the plan's settings. The run ends when each of its records has an outcome. As of every producer of the
    /// cluster, what it says of its records is compared with the log.
    ///
    /// # Panics
    /// If the plan's settings are invalid, as no slots are.
    #[must_use]
    pub fn producer(&self) -> AioProducer {
        let backend = self.0.cluster.backend().idempotence(self.0.idempotent);
        let builder = AioProducer::builder(backend).slots(self.0.slots).delivery_timeout(self.0.delivery_timeout);
        let producer = builder.start(self.0.sim.clone()).expect("the plan's settings");
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
        self.expect(move |logs| doubled(logs, &key));
    }

    /// At the end of the run, the records of a key in a partition have to be in the order of their numbers. The closure says key and
    /// number of a record, and `None` leaves it out. Equal numbers may follow each other.
    ///
    /// ```
    /// # use aioproducer_driver::Record;
    /// # use aioproducer_sim::{Plan, check};
    /// # check(Plan::swarm().topic("orders", 3).seeds(0..5), |case| async move {
    /// # let producer = case.producer();
    /// for n in 0..20 {
    ///     let record = Record::to("orders").key(format!("customer-{}", n % 3)).payload(n.to_string());
    ///     producer.send(record).await.unwrap();
    /// }
    /// case.expect_order(|record| Some((record.key_str()?.to_owned(), record.payload_str()?.parse::<u32>().ok()?)));
    /// # });
    /// ```
    #[track_caller]
    pub fn expect_order<K: Ord + fmt::Debug, N: Ord + fmt::Debug>(
        &self,
        place: impl Fn(&LogRecord) -> Option<(K, N)> + Send + 'static,
    ) {
        self.expect(move |logs| reordered(logs, &place));
    }

    #[track_caller]
    fn expect(&self, expectation: impl Fn(&[Logged]) -> Option<String> + Send + 'static) {
        lock(&self.0.inside).expected.push((Box::new(expectation), Location::caller()));
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

    /// What is broken at the end of the run: what the scenario expects comes first, and then what producers said.
    pub(super) fn broken(&self) -> Option<String> {
        let (expected, broken) = {
            let mut inside = lock(&self.0.inside);
            (std::mem::take(&mut inside.expected), inside.broken.take())
        };
        broken.or_else(|| {
            let logs = if expected.is_empty() { Vec::new() } else { self.0.cluster.logs() };
            let unexpected = expected
                .iter()
                .find_map(|(expectation, place)| expectation(&logs).map(|broken| format!("{broken} ({place})")));
            unexpected.or_else(|| self.0.cluster.shared().lock().finding(self.0.allow))
        })
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("sim", &self.0.sim).finish_non_exhaustive()
    }
}
