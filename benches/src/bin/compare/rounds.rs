//! Rounds: each row once per round, in reverse order every other time, and ratios within a round.

use std::env;
use std::process::Command;

use aioproducer_benches::broker::{Broker, Failure};
use aioproducer_benches::process;
use aioproducer_benches::settings::{self, PARTITIONS, TOPIC};
use aioproducer_benches::spread::Spread;
use aioproducer_benches::usage::Measured;
use indicatif::{ProgressBar, ProgressStyle};

use crate::case::{Case, Row};

/// A case, and what each round measured.
pub(crate) struct Series {
    pub(crate) case: Case,
    pub(crate) rounds: Vec<Measured>,
    /// Records that the broker's logs grew by, over all rounds.
    pub(crate) confirmed: u64,
}

impl Series {
    /// Records that were sent and not confirmed by the broker, or the other way round.
    pub(crate) fn unconfirmed(&self) -> i64 {
        let sent: u64 = self.rounds.iter().map(|round| round.sent).sum();
        sent as i64 - self.confirmed as i64
    }

    /// Records that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.rounds.iter().map(|round| round.failed).sum()
    }

    /// `of` over the rounds.
    pub(crate) fn spread(&self, of: impl Fn(&Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    /// `of` over the rounds, each with the peer's value of the same round: a machine that slows down slows down both.
    pub(crate) fn beside(&self, peer: &Self, of: impl Fn(&Measured, &Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&peer.rounds).map(|(ours, theirs)| of(ours, theirs)))
    }

    /// The ratio of records per second to the peer's.
    pub(crate) fn ratio(&self, peer: &Self) -> Spread {
        self.beside(peer, |ours, theirs| rate(ours) / rate(theirs))
    }
}

/// Records per second.
pub(crate) fn rate(round: &Measured) -> f64 {
    round.records as f64 / round.seconds
}

/// Nanoseconds of CPU per record.
pub(crate) fn cpu_ns(round: &Measured) -> f64 {
    round.cpu_seconds * 1e9 / round.records as f64
}

/// Allocations in Rust per record.
pub(crate) fn allocations(round: &Measured) -> Option<f64> {
    Some(round.allocations? as f64 / round.records as f64)
}

/// Runs all rounds.
pub(crate) fn run(broker: &Broker, cases: &[Case], rounds: usize) -> Result<Vec<Series>, Failure> {
    let mut all: Vec<_> = cases.iter().map(|case| Series { case: *case, rounds: Vec::new(), confirmed: 0 }).collect();
    let progress = ProgressBar::new((cases.len() * rounds) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    for round in 0..rounds {
        let forwards = 0..all.len();
        let order: Vec<usize> = if round % 2 == 0 { forwards.collect() } else { forwards.rev().collect() };
        for index in order {
            let series = &mut all[index];
            progress.set_message(series.case.to_string());
            let before = broker.confirmed()?;
            series.rounds.push(in_process(series.case, broker.servers())?);
            series.confirmed += broker.confirmed()? - before;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(all)
}

/// Measures in a process of its own, which prints one line of JSON.
fn in_process(case: Case, servers: &str) -> Result<Measured, Failure> {
    let mut command = match case.row {
        Row::RawCopy | Row::RawLimit => raw(case, servers),
        _ => {
            let mut command = Command::new(env::current_exe()?);
            let size = case.size.to_string();
            let runtime = case.runtime.to_string();
            command.args(["--measure", &case.row.name(), "--runtime", &runtime, "--size", &size]);
            command.args(["--servers", servers]).args(case.quick.then_some("--quick"));
            command
        }
    };
    process::measured(&mut command)
}

/// The C program.
fn raw(case: Case, servers: &str) -> Command {
    let mut command = Command::new(env!("AIOPRODUCER_RAW_LOOP"));
    let mode = if case.row == Row::RawLimit { "limit" } else { "copy" };
    let numbers = [PARTITIONS as usize, case.size, case.records(), case.warm_up(), settings::window(case.size)];
    command.args([mode, TOPIC]).args(numbers.map(|number| number.to_string()));
    command.arg(format!("bootstrap.servers={servers}"));
    command.args(settings::settings(case.row.linger_ms()).into_iter().map(|(key, value)| format!("{key}={value}")));
    command
}
