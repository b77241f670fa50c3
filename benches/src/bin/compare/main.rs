//! All peers and this project in one run, against one broker in a process of its own.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin compare -- --help
//! ```

mod case;
mod chart;
mod goals;
mod measure;
mod ours;
mod peers;
mod report;
mod results;
mod rounds;

use std::fs;
use std::path::PathBuf;

use aioproducer_benches::broker::{self, Broker, Failure};
use clap::Parser;

use crate::case::{Case, Row, Runtime};
use crate::goals::Against;
use crate::results::Results;

/// Compares producers: records per second, CPU, allocations and memory, all against one broker.
#[derive(Parser)]
struct Options {
    /// Under a minute: the rows with goals, 100 bytes, on tokio, half as many records, 3 rounds.
    #[arg(long)]
    quick: bool,
    /// Rounds; each row runs once in each.
    #[arg(long, default_value_t = 5, default_value_if("quick", "true", "3"))]
    rounds: usize,
    /// Only these rows.
    #[arg(long = "row")]
    rows: Vec<Row>,
    /// Only rows on this runtime, and rows without a runtime.
    #[arg(long)]
    runtime: Option<Runtime>,
    /// Only these sizes of payloads, in bytes.
    #[arg(long = "size")]
    sizes: Vec<usize>,
    /// Fails if a goal is missed.
    #[arg(long)]
    check: bool,
    /// Fails if a value misses its floor, which is loose: for CI on a shared machine.
    #[arg(long, conflicts_with = "check")]
    floors: bool,
    /// Writes all results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws all results as a self-contained HTML page.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Measures one row in this process; the rounds use it.
    #[arg(long, hide = true, requires = "servers")]
    measure: Option<Row>,
    #[arg(long, hide = true)]
    servers: Option<String>,
}

fn main() -> Result<(), Failure> {
    if broker::is_wanted() {
        return broker::serve();
    }
    let options = Options::parse();
    if let (Some(row), Some(servers)) = (options.measure, &options.servers) {
        let runtime = options.runtime.unwrap_or(Runtime::None);
        let size = options.sizes.first().copied().unwrap_or(100);
        let measured = measure::measure(Case { row, runtime, size, quick: options.quick }, servers)?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    let broker = Broker::start()?;
    let cases = chosen(&options);
    let all = rounds::run(&broker, &cases, options.rounds)?;
    let kind = if broker.is_mock() { "librdkafka's mock cluster" } else { broker.servers() };
    let results = Results::of(&all, options.rounds, kind);
    results::print(&results);
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&results)?)?;
    }
    if let Some(file) = &options.report {
        fs::write(file, report::page(&results)?)?;
    }
    verdict(&results, &options)
}

/// Every record arrived once, and the goals are met.
fn verdict(results: &Results, options: &Options) -> Result<(), Failure> {
    let lost = results.rows.iter().find(|line| line.failed > 0 || line.unconfirmed != 0);
    if let Some(line) = lost {
        let (row, size) = (line.row.name(), line.size);
        return Err(format!("{row}, {size} B: {} failed, {} not confirmed", line.failed, line.unconfirmed).into());
    }
    let against = match (options.check, options.floors) {
        (true, _) => Against::Goal,
        (_, true) => Against::Floor,
        _ => return Ok(()),
    };
    let missed = results.goals.iter().filter(|goal| !goal.is_met(against));
    let missed: Vec<_> = missed.map(|goal| goal.name.as_str()).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; ")).into()) }
}

fn chosen(options: &Options) -> Vec<Case> {
    let sizes: &[usize] = match options.sizes.as_slice() {
        [] if options.quick => &[100],
        [] => &[100, 1000, 10_000],
        sizes => sizes,
    };
    let runtime = options.runtime.or(options.quick.then_some(Runtime::Tokio));
    let mut cases = Case::all(sizes, options.quick);
    cases.retain(|case| {
        let wanted = match options.rows.as_slice() {
            [] => !options.quick || case.row.is_gated(),
            rows => rows.contains(&case.row),
        };
        wanted && runtime.is_none_or(|runtime| [runtime, Runtime::None].contains(&case.runtime) || !case.row.is_ours())
    });
    cases
}
