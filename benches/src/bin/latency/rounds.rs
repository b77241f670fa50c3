//! Rounds: each case once per round, in reverse order every other time, each in a process of its own.

use std::env;
use std::process::Command;

use aioproducer_benches::broker::{Broker, Failure};
use aioproducer_benches::process;
use aioproducer_benches::spread::Spread;
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

use crate::case::{Case, Peer, name};
use crate::measure::Latencies;

/// A case, and what each round measured.
pub(crate) struct Series {
    pub(crate) case: Case,
    pub(crate) ours: Vec<Latencies>,
    pub(crate) future: Vec<Latencies>,
}

impl Series {
    /// What a peer's rounds measured.
    pub(crate) fn of(&self, peer: Peer) -> &[Latencies] {
        match peer {
            Peer::Ours => &self.ours,
            Peer::Future => &self.future,
        }
    }

    /// The ratio of ours to theirs within each round.
    pub(crate) fn ratio(&self, of: fn(&Latencies) -> f64) -> Spread {
        Spread::of(self.ours.iter().zip(&self.future).map(|(ours, theirs)| of(ours) / of(theirs)))
    }
}

/// Runs all rounds.
pub(crate) fn run(broker: &Broker, cases: &[Case], rounds: usize, quick: bool) -> Result<Vec<Series>, Failure> {
    let mut all: Vec<_> =
        cases.iter().map(|case| Series { case: *case, ours: Vec::new(), future: Vec::new() }).collect();
    let mut turns: Vec<_> = (0..all.len()).flat_map(|at| [(at, Peer::Ours), (at, Peer::Future)]).collect();
    let progress = ProgressBar::new((turns.len() * rounds) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    for _ in 0..rounds {
        for (at, peer) in &turns {
            let series = &mut all[*at];
            let (case, peer_name) = (name(series.case), name(*peer));
            progress.set_message(format!("{case}, {peer_name}"));
            let arguments = ["--measure", &case, "--peer", &peer_name, "--servers", broker.servers()];
            let measured = in_process(&arguments, quick)?;
            match peer {
                Peer::Ours => series.ours.push(measured),
                Peer::Future => series.future.push(measured),
            }
            progress.inc(1);
        }
        turns.reverse();
    }
    progress.finish_and_clear();
    Ok(all)
}

/// Starts this program again with `arguments`, which makes it print one line of JSON.
pub(crate) fn in_process<T: DeserializeOwned>(arguments: &[&str], quick: bool) -> Result<T, Failure> {
    process::measured(Command::new(env::current_exe()?).args(arguments).args(quick.then_some("--quick")))
}
