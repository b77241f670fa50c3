//! How long a record takes, next to `FutureProducer`, and how long polls of our futures take.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin latency -- --help
//! ```

mod case;
mod load;
mod measure;
mod polls;
mod results;
mod rounds;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use aioproducer_benches::broker::{self, Broker, Failure};
use clap::{Parser, ValueEnum};

use crate::case::{Case, Peer, name};
use crate::load::{Condition, Watched};
use crate::results::Results;

/// Measures latencies of ours and of FutureProducer, and the CPU time of polls with the broker up, stopped and slow.
#[derive(Parser)]
struct Options {
    /// 40 seconds: only cases with goals, and shorter.
    #[arg(long)]
    quick: bool,
    /// Rounds; each case runs once in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these cases, and no polls unless a broker is named, too.
    #[arg(long = "case")]
    cases: Vec<Case>,
    /// Only polls with the broker like this, and no cases unless one is named, too.
    #[arg(long = "broker", value_name = "CONDITION")]
    conditions: Vec<Condition>,
    /// Fails if a goal is missed.
    #[arg(long)]
    check: bool,
    /// Writes all results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures one case in this process; the rounds use it.
    #[arg(long, hide = true, requires = "peer", requires = "servers")]
    measure: Option<Case>,
    #[arg(long, hide = true)]
    peer: Option<Peer>,
    #[arg(long, hide = true)]
    servers: Option<String>,
    /// Measures polls in this process.
    #[arg(long, hide = true)]
    watch: Option<Condition>,
}

fn main() -> Result<(), Failure> {
    if broker::is_wanted() {
        return broker::serve();
    }
    let options = Options::parse();
    if let (Some(case), Some(peer), Some(servers)) = (options.measure, options.peer, &options.servers) {
        let measured = measure::measure(case, peer, servers, case.lasting(options.quick))?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    if let Some(condition) = options.watch {
        let lasting = Duration::from_secs(if options.quick { 3 } else { 10 });
        println!("{}", serde_json::to_string(&load::watch(condition, lasting)?)?);
        return Ok(());
    }
    let results = run(&options)?;
    results::print(&results);
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&results)?)?;
    }
    let missed = results.goals.iter().filter(|goal| !goal.is_met()).count();
    match results.failed() {
        0 if options.check && missed > 0 => Err(format!("{missed} goals missed").into()),
        0 => Ok(()),
        failed => Err(format!("{failed} records failed").into()),
    }
}

fn run(options: &Options) -> Result<Results, Failure> {
    let everything = options.cases.is_empty() && options.conditions.is_empty();
    let (cases, conditions): (&[Case], &[Condition]) = match everything {
        true if options.quick => (&Case::GATED, Condition::value_variants()),
        true => (Case::value_variants(), Condition::value_variants()),
        false => (&options.cases, &options.conditions),
    };
    let broker = Broker::start()?;
    let kind = if broker.is_mock() { "librdkafka's mock cluster" } else { broker.servers() };
    let all = rounds::run(&broker, cases, options.rounds, options.quick)?;
    let mut polls = Vec::new();
    for condition in conditions {
        // A real cluster can neither be stopped nor slowed down from here.
        if broker.is_mock() || *condition == Condition::Up {
            let watched: Watched = rounds::in_process(&["--watch", &name(*condition)], options.quick)?;
            polls.push((*condition, watched));
        }
    }
    Ok(Results::of(&all, &polls, options.rounds, kind))
}
