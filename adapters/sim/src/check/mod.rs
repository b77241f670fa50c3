//! A scenario over many seeds: each is run twice and compared, faults are drawn, and then all heals and must end.

mod case;
mod expect;
mod jobs;
mod judge;
mod message;
mod panics;
mod plan;
mod reduce;
mod seeds;
mod storm;

use std::thread;

pub use self::case::Case;
use self::message::message;
pub use self::plan::Plan;
use self::reduce::reduce;
use self::seeds::Seeds;

/// Runs a scenario with many seeds. In each run the seed chooses the order of tasks and draws faults. Then all heals, and each
/// accepted record has to have an outcome within the producer's delivery timeout, and each slot has to be free soon after. What
/// each producer of the cluster said of its records is compared with the log, with all checks of `aioproducer-history`. Of the first
/// 100 seeds each is run twice, and of the others one in ten: both runs have to be the same.
///
/// Without one of these variables in the environment, the plan's own seeds are run:
///
/// | variable | value |
/// | --- | --- |
/// | `AIOPRODUCER_SIM_SEED` | one seed; if it fails, the trace is printed |
/// | `AIOPRODUCER_SIM_SEEDS` | a range, as `0..1000` |
/// | `AIOPRODUCER_SIM_SECONDS` | seeds from the range's begin on, for so many seconds of real time |
/// | `AIOPRODUCER_SIM_JOBS` | on so many threads, 1 by default; each run is on one of them |
/// | `AIOPRODUCER_SIM_TRACE_DIR` | where the trace of a failure goes, instead of `aioproducer-sim` in cargo's `target` |
///
/// # Panics
/// If a run fails. The message says what broke, the fewest kinds of faults that break it and how many faults, where their trace
/// is, and the command that repeats the run. If what
/// [`Case::sometimes`] expects has happened in no run. If a variable in the environment is invalid.
///
/// ```
/// use aioproducer_driver::Record;
/// use aioproducer_sim::{Plan, check};
///
/// check(Plan::swarm().topic("orders", 3).seeds(0..20), |case| async move {
///     let producer = case.producer();
///     for order in 0..10 {
///         producer.send(Record::to("orders").key("1001").payload(order.to_string())).await.unwrap();
///     }
///     case.expect_once(|record| record.payload_str().map(str::to_owned));
/// });
/// ```
#[track_caller]
pub fn check<F: Future<Output = ()>>(plan: Plan, scenario: impl Fn(Case) -> F + Sync) {
    let seeds = match Seeds::from_environment(plan.seeds_in_plan()) {
        Ok(seeds) => seeds,
        Err(error) => panic!("{error}"),
    };
    let found = jobs::run(&plan, &seeds, &scenario);
    if let Some((seed, judged)) = found.failed {
        if seeds.is_one() {
            eprintln!("{}", judged.trace);
        }
        let failure = judged.failure.clone().unwrap_or_default();
        let reduced = reduce(&plan, seed, judged, &scenario);
        let thread = thread::current();
        let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
        panic!("{}", message(&plan, test, seed, &failure, &reduced));
    }
    let never = found.sometimes.iter().find(|(_, happened)| !**happened);
    if let (Some(((name, place), _)), false) = (never, seeds.is_one()) {
        panic!(
            "in {} runs never: {name} ({place}); run more seeds, allow more kinds of faults, or change the scenario",
            found.runs
        );
    }
}
