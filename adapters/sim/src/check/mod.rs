//! A scenario over many seeds: each is run twice and compared, faults are drawn, and then all heals and must end.

mod case;
mod judge;
mod plan;
mod seeds;
mod storm;

use std::collections::BTreeMap;
use std::panic::Location;
use std::time::Instant;

pub use self::case::Case;
use self::judge::{Judged, judge, shrink};
pub use self::plan::Plan;
use self::seeds::Seeds;

/// Runs a scenario with many seeds. In each run the seed chooses the order of tasks and draws faults. Then all heals, and each
/// accepted record has to have an outcome within the producer's delivery timeout. Each seed is run twice, and both runs have to be
/// the same.
///
/// Without one of these variables in the environment, the plan's own seeds are run:
///
/// | variable | value |
/// | --- | --- |
/// | `AIOPRODUCER_SIM_SEED` | one seed; if it fails, the trace is printed |
/// | `AIOPRODUCER_SIM_SEEDS` | a range, as `0..1000` |
/// | `AIOPRODUCER_SIM_SECONDS` | seeds from the range's begin on, for so many seconds of real time |
///
/// # Panics
/// If a run fails. The message says what broke, the fewest kinds of faults that break it, and the command that repeats it. If what
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
pub fn check<F: Future<Output = ()>>(plan: Plan, scenario: impl Fn(Case) -> F) {
    let seeds = Seeds::from_environment(plan.seeds_in_plan()).unwrap_or_else(|error| panic!("{error}"));
    let begin = Instant::now();
    let mut expected = BTreeMap::<(&'static str, &'static Location<'static>), bool>::new();
    let mut runs = 0_u64;
    for seed in seeds.numbers() {
        if seeds.limit().is_some_and(|limit| begin.elapsed() >= limit) {
            break;
        }
        let Judged { failure, sometimes, trace } = judge(&plan, plan.kinds(), seed, &scenario);
        for (name, place, happened) in sometimes {
            *expected.entry((name, place)).or_default() |= happened;
        }
        runs += 1;
        let Some(failure) = failure else { continue };
        if seeds.is_one() {
            eprintln!("{trace}");
        }
        let needed = shrink(&plan, seed, &failure, &scenario);
        panic!("{}", judge::message(&plan, seed, &failure, &needed));
    }
    let never: Vec<_> = expected.iter().filter(|(_, happened)| !**happened).map(|(expected, _)| expected).collect();
    if let (Some((name, place)), false) = (never.first(), seeds.is_one()) {
        panic!(
            "in {runs} runs never: {name} ({place}); run more seeds, allow more kinds of faults, or change the scenario"
        );
    }
}
