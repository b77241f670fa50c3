//! Seeds on threads: each run is on one of them, and what is found does not depend on their number.

use std::collections::BTreeMap;
use std::panic::{Location, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::case::Case;
use super::judge::{Judged, Run, judge};
use super::plan::Plan;
use super::seeds::Seeds;

/// What is expected sometimes, and whether it has happened.
type Sometimes = BTreeMap<(&'static str, &'static Location<'static>), bool>;

/// What the runs have shown.
#[derive(Default)]
pub(super) struct Found {
    pub(super) runs: u64,
    pub(super) sometimes: Sometimes,
    /// The lowest seed that fails.
    pub(super) failed: Option<(u64, Judged)>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        for (expected, happened) in other.sometimes {
            *self.sometimes.entry(expected).or_default() |= happened;
        }
        let seed = |failed: &Option<(u64, Judged)>| failed.as_ref().map_or(u64::MAX, |(seed, _)| *seed);
        if seed(&other.failed) < seed(&self.failed) {
            self.failed = other.failed;
        }
    }
}

/// The seeds that are left.
struct Line<'a> {
    seeds: &'a Seeds,
    next: AtomicU64,
    /// The end, which is lower once a seed has failed.
    end: AtomicU64,
    begin: Instant,
}

impl Line<'_> {
    fn take(&self) -> Option<u64> {
        if self.seeds.limit().is_some_and(|limit| self.begin.elapsed() >= limit) {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        (seed < self.end.load(Ordering::Relaxed)).then_some(seed)
    }
}

/// Runs the seeds up to the first one that fails.
pub(super) fn run<F: Future<Output = ()>>(plan: &Plan, seeds: &Seeds, scenario: &(impl Fn(Case) -> F + Sync)) -> Found {
    let numbers = seeds.numbers();
    let line = Line { seeds, next: numbers.start.into(), end: AtomicU64::new(numbers.end), begin: Instant::now() };
    let work = || work(plan, &line, scenario);
    if seeds.jobs() == 1 {
        return work();
    }
    thread::scope(|scope| {
        let threads: Vec<_> = (0..seeds.jobs()).map(|_| scope.spawn(work)).collect();
        let mut found = Found::default();
        for thread in threads {
            found.add(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        found
    })
}

fn work<F: Future<Output = ()>>(plan: &Plan, line: &Line<'_>, scenario: &impl Fn(Case) -> F) -> Found {
    let mut found = Found::default();
    while let Some(seed) = line.take() {
        let run = Run::of(plan, seed);
        let judged = judge(&run, line.seeds.is_repeated(seed), scenario);
        found.runs += 1;
        for (name, place, happened) in &judged.sometimes {
            *found.sometimes.entry((name, place)).or_default() |= happened;
        }
        if judged.failure.is_some() {
            line.end.fetch_min(seed, Ordering::Relaxed);
            found.failed = Some((seed, judged));
            break;
        }
    }
    found
}
