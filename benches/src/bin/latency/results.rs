//! The results: tables for people, JSON for programs, and the goals.

use std::collections::BTreeMap;

use aioproducer_benches::host::Host;
use aioproducer_benches::settings;
use aioproducer_benches::spread::Spread;
use serde::Serialize;

use crate::case::{Case, Peer, SIZE, name};
use crate::load::{Condition, Watched};
use crate::measure::Latencies;
use crate::rounds::Series;

/// Everything, as `--json` writes it.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Host,
    pub(crate) settings: BTreeMap<&'static str, String>,
    pub(crate) latencies: Vec<Line>,
    pub(crate) polls: BTreeMap<String, Watched>,
    pub(crate) goals: Vec<Goal>,
}

/// One case: medians of both, and ratios of ours to theirs within a round.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) case: Case,
    pub(crate) linger_ms: u32,
    pub(crate) ours: Latencies,
    pub(crate) future: Latencies,
    pub(crate) ratios: Ratios,
}

/// Ratios of latencies.
#[derive(Serialize)]
pub(crate) struct Ratios {
    pub(crate) p50: Spread,
    pub(crate) p90: Spread,
    pub(crate) p99: Spread,
    pub(crate) p999: Spread,
}

/// A value with an upper limit.
#[derive(Serialize)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
}

impl Goal {
    /// Whether the value is within the limit.
    pub(crate) fn is_met(&self) -> bool {
        self.value <= self.limit
    }
}

impl Results {
    pub(crate) fn of(all: &[Series], polls: &[(Condition, Watched)], rounds: usize, broker: &str) -> Self {
        let mut settings: BTreeMap<_, _> = settings::settings(0).into_iter().skip(1).collect();
        settings.insert("broker", broker.to_owned());
        settings.insert("rounds", rounds.to_string());
        settings.insert("partitions", settings::PARTITIONS.to_string());
        settings.insert("bytes of a payload", SIZE.to_string());
        Self {
            machine: Host::describe(),
            settings,
            latencies: all.iter().map(line).collect(),
            polls: polls.iter().map(|(condition, watched)| (name(*condition), watched.clone())).collect(),
            goals: goals(all, polls),
        }
    }

    /// Records that failed although the broker was up.
    pub(crate) fn failed(&self) -> u64 {
        self.latencies.iter().map(|line| line.ours.failed + line.future.failed).sum()
    }
}

fn line(series: &Series) -> Line {
    let medians = |peer| {
        let rounds: &[Latencies] = series.of(peer);
        let median = |of: fn(&Latencies) -> f64| Spread::of(rounds.iter().map(of)).median;
        Latencies {
            p50: median(|round| round.p50),
            p90: median(|round| round.p90),
            p99: median(|round| round.p99),
            p999: median(|round| round.p999),
            max: median(|round| round.max),
            records_per_s: median(|round| round.records_per_s),
            failed: rounds.iter().map(|round| round.failed).sum(),
        }
    };
    Line {
        case: series.case,
        linger_ms: series.case.linger_ms(),
        ours: medians(Peer::Ours),
        future: medians(Peer::Future),
        ratios: Ratios {
            p50: series.ratio(|round| round.p50),
            p90: series.ratio(|round| round.p90),
            p99: series.ratio(|round| round.p99),
            p999: series.ratio(|round| round.p999),
        },
    }
}

/// The goals that this measurement can judge.
fn goals(all: &[Series], polls: &[(Condition, Watched)]) -> Vec<Goal> {
    let ratio = |case, quantile: &str, of: fn(&Latencies) -> f64, limit| {
        let series = all.iter().find(|series| series.case == case)?;
        let name = format!("{}, {quantile}, ours to FutureProducer's", name(case));
        Some(Goal { name, value: series.ratio(of).median, limit })
    };
    let ratios = [
        ratio(Case::OneAtATime, "p50", |round| round.p50, 1.0),
        ratio(Case::OneAtATime, "p99", |round| round.p99, 1.0),
        ratio(Case::ThousandPerSecond, "p99", |round| round.p99, 0.8),
    ];
    let polls = polls.iter().map(|(condition, watched)| Goal {
        name: format!("broker {}, p99.99 of polls of any kind of ours, CPU time in µs", name(*condition)),
        value: watched.ours().map(|kind| kind.p9999).fold(0.0, f64::max),
        limit: 100.0,
    });
    ratios.into_iter().flatten().chain(polls).collect()
}

/// Prints the tables.
pub(crate) fn print(results: &Results) {
    for (key, value) in &results.settings {
        println!("{key} = {value}");
    }
    if !results.latencies.is_empty() {
        latencies(&results.latencies);
    }
    if !results.polls.is_empty() {
        polls(&results.polls);
    }
    println!("\n{:<66} {:>8} {:>8}", "goal", "value", "limit");
    for goal in &results.goals {
        let verdict = if goal.is_met() { "met" } else { "missed" };
        println!("{:<66} {:>8.2} {:>8.2}   {verdict}", goal.name, goal.value, goal.limit);
    }
}

fn latencies(lines: &[Line]) {
    println!(
        "\n{:<29} {:>6} {:<7} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "latency, µs", "linger", "", "p50", "p90", "p99", "p99.9", "max", "records/s", "failed"
    );
    for line in lines {
        let case = name(line.case);
        for (peer, of) in [(Peer::Ours, &line.ours), (Peer::Future, &line.future)] {
            println!(
                "{case:<29} {:>6} {:<7} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.0} {:>7}",
                line.linger_ms,
                name(peer),
                of.p50,
                of.p90,
                of.p99,
                of.p999,
                of.max,
                of.records_per_s,
                of.failed
            );
        }
    }
    println!("\n{:<29} {:>22} {:>22} {:>22} {:>22}", "ours to FutureProducer's", "p50", "p90", "p99", "p99.9");
    for line in lines {
        let Ratios { p50, p90, p99, p999 } = &line.ratios;
        let ratio = |of: &Spread| format!("{:.2} ({:.2} to {:.2})", of.median, of.min, of.max);
        let [p50, p90, p99, p999] = [p50, p90, p99, p999].map(ratio);
        println!("{:<29} {p50:>22} {p90:>22} {p99:>22} {p999:>22}", name(line.case));
    }
}

fn polls(conditions: &BTreeMap<String, Watched>) {
    // "no fault": the 99.99th percentile of those polls in which no page had to be provided.
    println!(
        "\n{:<8} {:<12} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "broker", "CPU time, µs", "polls", "p50", "p99", "p99.99", "max", "no fault", "wall max"
    );
    for (condition, watched) in conditions {
        for of in &watched.kinds {
            println!(
                "{condition:<8} {:<12} {:>10} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>10.1}",
                name(of.kind),
                of.polls,
                of.p50,
                of.p99,
                of.p9999,
                of.max,
                of.p9999_resident,
                of.max_wall
            );
        }
        println!("{condition:<8} {} records delivered, {} failed", watched.delivered, watched.failed);
    }
}
