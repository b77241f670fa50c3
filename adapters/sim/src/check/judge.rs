//! A run of a seed, and what is said of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::Location;
use std::time::Duration;

use aioproducer_driver::Runtime;

use super::case::Case;
use super::panics;
use super::plan::Plan;
use super::storm::Storm;
use crate::api::SimCluster;
use crate::cluster::{FaultKind, Quota, Swarm, Trace};
use crate::executor::Sim;
use crate::sync::{Arc, Mutex, lock};

/// A seed, and which of its faults happen.
#[derive(Clone)]
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) seed: u64,
    pub(super) kinds: BTreeSet<FaultKind>,
    /// By number, in the order of their time.
    pub(super) faults: Range<u64>,
    /// Its panics are not printed.
    pub(super) quiet: bool,
}

impl<'a> Run<'a> {
    /// With all faults that the seed draws.
    pub(super) fn of(plan: &'a Plan, seed: u64) -> Self {
        Self { plan, seed, kinds: plan.kinds().clone(), faults: 0..u64::MAX, quiet: false }
    }
}

/// What is left of a run.
#[derive(Default)]
pub(super) struct Judged {
    /// What broke.
    pub(super) failure: Option<String>,
    pub(super) sometimes: Vec<(&'static str, &'static Location<'static>, bool)>,
    pub(super) trace: Trace,
    /// How many faults the seed has drawn.
    pub(super) drawn: u64,
}

/// How much later than the delivery timeout a run may end after it has healed: a tick, and the way to a broker and back.
const SLACK: Duration = Duration::from_millis(100);

/// For how long a slot may be in use after its record's outcome: the client waits for a broker that was paused, and sends once more.
const LATE: Duration = Duration::from_secs(60);

/// Runs a seed, and once more if it fails or is to be `repeated`.
pub(super) fn judge<F: Future<Output = ()>>(run: &Run<'_>, repeated: bool, scenario: &impl Fn(Case) -> F) -> Judged {
    let mut first = once(run, repeated, scenario);
    if !repeated && first.failure.is_none() {
        return first;
    }
    let second = once(&Run { quiet: true, ..run.clone() }, true, scenario);
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

/// Runs a seed once. The trace of a run that does not fail is left out unless it is `traced`.
pub(super) fn once<F: Future<Output = ()>>(run: &Run<'_>, traced: bool, scenario: &impl Fn(Case) -> F) -> Judged {
    let place: Arc<Mutex<Option<Case>>> = Arc::default();
    let quota = Arc::new(Quota::new(run.faults.clone()));
    let ended = panics::catch(run.quiet, || {
        Sim::try_run(run.plan.wall_limit, run.seed, |sim| {
            let cluster = cluster(run, &sim, &quota);
            let case = Case::new(run.plan, sim.clone(), cluster.clone());
            *lock(&place) = Some(case.clone());
            let future = scenario(case.clone());
            async move {
                future.await;
                sim.refuse_live_tasks()?;
                cluster.heal();
                settle(&case).await
            }
        })
    });
    let case = lock(&place).take();
    let failure = match ended {
        Err(panic) => Some(format!("PANIC: {panic}")),
        Ok(Err(stuck)) => Some(format!("STUCK: {stuck}")),
        Ok(Ok(Err(broken))) => Some(broken),
        Ok(Ok(Ok(()))) => case.as_ref().and_then(|case| {
            panics::catch(run.quiet, || case.broken()).unwrap_or_else(|panic| Some(format!("PANIC: {panic}")))
        }),
    };
    let Some(case) = case else { return Judged { failure, ..Judged::default() } };
    let cluster = case.cluster();
    let unhit = cluster.end();
    let failure = failure.or_else(|| unhit.map(|unhit| format!("NOT HIT: {unhit}")));
    let trace = if traced || failure.is_some() { cluster.trace() } else { Trace::default() };
    Judged { failure, sometimes: case.seen(), trace, drawn: quota.drawn() }
}

/// The cluster of a run, with its faults.
fn cluster(run: &Run<'_>, sim: &Sim, quota: &Arc<Quota>) -> SimCluster {
    let plan = run.plan;
    let mut cluster = SimCluster::new().with_brokers(plan.brokers);
    for (name, partitions) in &plan.topics {
        cluster = cluster.with_topic(name, *partitions);
    }
    cluster.shared().lock().keep_journals(sim.time());
    let swarm = Swarm::new(run.seed, &run.kinds, Arc::clone(quota));
    for (kind, rng, rate) in swarm.kinds() {
        if matches!(kind, FaultKind::BrokerStop | FaultKind::BrokerPause | FaultKind::LeaderMove) {
            let storm = Storm { kind, rng, rate, quota: Arc::clone(quota) };
            Runtime::spawn(sim, Box::pin(storm.rage(sim.clone(), cluster.clone(), plan.faults_for)));
        }
    }
    cluster.release(swarm, plan.faults_for);
    cluster
}

/// Waits until each record has its outcome, and then until each slot is free.
async fn settle(case: &Case) -> Result<(), String> {
    let (begin, limit) = (case.sim().elapsed(), case.delivery_timeout() + SLACK);
    let left = || limit.saturating_sub(case.sim().elapsed() - begin);
    for producer in case.producers() {
        if producer.flush().within(left()).await.is_err() {
            return Err(format!(
                "NO OUTCOME: {} records of a producer have none {limit:?} after all has healed",
                producer.len()
            ));
        }
    }
    let open = || case.cluster().shared().lock().open_records();
    if !ends(case, left(), || open() == 0).await {
        return Err(format!("NO OUTCOME: {} records have none {limit:?} after all has healed", open()));
    }
    for producer in case.producers() {
        let in_use = || producer.statistics().in_use;
        if !ends(case, limit + LATE, || in_use() == 0).await {
            return Err(format!(
                "SLOT LEAK: {} slots are in use {:?} after the last record has its outcome",
                in_use(),
                limit + LATE
            ));
        }
    }
    Ok(())
}

/// Whether something is the case within this virtual time.
async fn ends(case: &Case, limit: Duration, is_over: impl Fn() -> bool) -> bool {
    let (begin, mut step) = (case.sim().elapsed(), Duration::from_millis(1));
    loop {
        let left = limit.saturating_sub(case.sim().elapsed() - begin);
        match (is_over(), left.is_zero()) {
            (true, _) => return true,
            (false, true) => return false,
            (false, false) => case.sim().sleep(step.min(left)).await,
        }
        step *= 2;
    }
}
