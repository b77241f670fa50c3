//! A seed is run twice, and what broke is reduced to the fewest kinds of faults.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::thread;
use std::time::Duration;

use aioproducer_driver::Runtime;

use super::case::Case;
use super::plan::Plan;
use super::storm::storm;
use crate::api::SimCluster;
use crate::cluster::{FaultKind, Swarm, Trace};
use crate::executor::Sim;
use crate::sync::{Arc, Mutex, lock};

/// What is left of a run.
pub(super) struct Judged {
    /// What broke.
    pub(super) failure: Option<String>,
    pub(super) sometimes: Vec<(&'static str, &'static Location<'static>, bool)>,
    pub(super) trace: Trace,
}

/// How much later than the delivery timeout a run may end after it has healed: a tick, and the way to a broker and back.
const SLACK: Duration = Duration::from_millis(100);

/// Runs a seed twice.
pub(super) fn judge<F: Future<Output = ()>>(
    plan: &Plan,
    kinds: &BTreeSet<FaultKind>,
    seed: u64,
    scenario: &impl Fn(Case) -> F,
) -> Judged {
    let (mut first, second) = (once(plan, kinds, seed, scenario), once(plan, kinds, seed, scenario));
    let differs = first.trace.first_difference(&second.trace).or_else(|| {
        let says = |judged: &Judged| judged.failure.clone().unwrap_or_else(|| "all is well".to_owned());
        (says(&first) != says(&second))
            .then(|| format!("the one says `{}`, the other `{}`", says(&first), says(&second)))
    });
    if let Some(difference) = differs {
        first.failure = Some(format!(
            "NOT DETERMINISTIC: two runs of the seed differ: {difference}. Look for a HashMap's order, a real clock, a random number \
             that the seed does not draw, or a thread"
        ));
    }
    first
}

/// Runs a seed once.
fn once<F: Future<Output = ()>>(
    plan: &Plan,
    kinds: &BTreeSet<FaultKind>,
    seed: u64,
    scenario: &impl Fn(Case) -> F,
) -> Judged {
    let place: Arc<Mutex<Option<Case>>> = Arc::default();
    let run = || {
        Sim::try_run(plan.wall_limit, seed, |sim| {
            let cluster = cluster(plan, &sim, kinds);
            let case = Case::new(plan, sim.clone(), cluster.clone());
            *lock(&place) = Some(case.clone());
            let future = scenario(case.clone());
            async move {
                future.await;
                sim.refuse_live_tasks()?;
                cluster.heal();
                settle(&case).await
            }
        })
    };
    let ended = catch_unwind(AssertUnwindSafe(run));
    let case = lock(&place).take();
    let (sometimes, trace) = match &case {
        Some(case) => (case.seen(), case.cluster().trace()),
        None => (Vec::new(), Trace::default()),
    };
    let failure = match ended {
        Err(panic) => Some(format!("PANIC: {}", text(&*panic))),
        Ok(Err(stuck)) => Some(format!("STUCK: {stuck}")),
        Ok(Ok(Err(broken))) => Some(broken),
        Ok(Ok(Ok(()))) => case.as_ref().and_then(Case::broken),
    };
    let unhit = case.as_ref().and_then(|case| case.cluster().take_unhit());
    let failure = failure.or_else(|| unhit.map(|unhit| format!("NOT HIT: {unhit}")));
    Judged { failure, sometimes, trace }
}

/// The cluster of a run, with its faults.
fn cluster(plan: &Plan, sim: &Sim, kinds: &BTreeSet<FaultKind>) -> SimCluster {
    let mut cluster = SimCluster::new().with_brokers(plan.brokers);
    for (name, partitions) in &plan.topics {
        cluster = cluster.with_topic(name, *partitions);
    }
    let swarm = Swarm::new(sim.seed(), kinds);
    for (kind, rng, rate) in swarm.kinds() {
        if matches!(kind, FaultKind::BrokerStop | FaultKind::BrokerPause | FaultKind::LeaderMove) {
            Runtime::spawn(sim, Box::pin(storm(sim.clone(), cluster.clone(), kind, rng, rate, plan.faults_for)));
        }
    }
    cluster.release(swarm, plan.faults_for);
    cluster
}

/// Waits until each record has its outcome.
async fn settle(case: &Case) -> Result<(), String> {
    let (begin, limit) = (case.sim().elapsed(), case.delivery_timeout() + SLACK);
    for producer in case.producers() {
        let left = limit.saturating_sub(case.sim().elapsed() - begin);
        if producer.flush().within(left).await.is_err() {
            return Err(format!(
                "NO OUTCOME: {} records of a producer have none {limit:?} after all has healed",
                producer.len()
            ));
        }
    }
    Ok(())
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

/// What kind of failure it is: the words in capitals at its begin.
fn class(failure: &str) -> &str {
    failure.split_once(':').map_or(failure, |(class, _)| class)
}

/// The fewest kinds of faults with which the seed still fails in this way: each is left out once.
pub(super) fn shrink<F: Future<Output = ()>>(
    plan: &Plan,
    seed: u64,
    failure: &str,
    scenario: &impl Fn(Case) -> F,
) -> BTreeSet<FaultKind> {
    let mut needed = plan.kinds().clone();
    for kind in plan.kinds() {
        let mut fewer = needed.clone();
        fewer.remove(kind);
        let again = judge(plan, &fewer, seed, scenario).failure;
        if again.is_some_and(|again| class(&again) == class(failure)) {
            needed = fewer;
        }
    }
    needed
}

/// What a failed check says.
pub(super) fn message(plan: &Plan, seed: u64, failure: &str, needed: &BTreeSet<FaultKind>) -> String {
    let others = plan.kinds().len() - needed.len();
    let needs = match needed.len() {
        0 => "needs no fault".to_owned(),
        _ => format!("needs {}", needed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")),
    };
    let thread = thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!(
        "seed {seed}: {failure}\n  {needs} ({others} other kinds not needed)\n  \
         repeat: AIOPRODUCER_SIM_SEED={seed} cargo test {test} -- --nocapture"
    )
}
