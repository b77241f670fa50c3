//! Every peer and this project in one run, against one broker in a process of its own.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin compare -- --help
//! ```

mod case;
mod measure;
mod ours;
mod peers;
mod results;
mod rounds;

use std::fs;
use std::path::PathBuf;

use aioproducer_benches::broker::{self, Broker, Failure};
use clap::Parser;

use crate::case::{Case, Row, Runtime};
use crate::results::Results;

/// Compares producers: records per second, CPU, allocations and memory, all against one broker.
#[derive(Parser)]
struct Options {
    /// 40 seconds: payloads of 100 bytes, on tokio, the rows that goals are about.
    #[arg(long)]
    quick: bool,
    /// Rounds; everybody has one turn in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these rows.
    #[arg(long = "row")]
    rows: Vec<Row>,
    /// Only this runtime, and those without one.
    #[arg(long)]
    runtime: Option<Runtime>,
    /// Only these sizes of payloads, in bytes.
    #[arg(long = "size")]
    sizes: Vec<usize>,
    /// Writes all results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures one row in this process; what the rounds start.
    #[arg(long, hide = true, requires = "servers")]
    measure: Option<Row>,
    #[arg(long, hide = true)]
    servers: Option<String>,
    /// Becomes the broker.
    #[arg(long, hide = true)]
    serve_broker: bool,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.serve_broker {
        return broker::serve();
    }
    if let (Some(row), Some(servers)) = (options.measure, &options.servers) {
        let runtime = options.runtime.unwrap_or(Runtime::None);
        let size = options.sizes.first().copied().unwrap_or(100);
        let measured = measure::measure(Case { row, runtime, size }, servers)?;
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
    let lost = results.rows.iter().find(|line| line.failed > 0 || line.unconfirmed != 0);
    match lost {
        Some(line) => Err(format!("{}: {} failed, {} not confirmed", line.name, line.failed, line.unconfirmed).into()),
        None => Ok(()),
    }
}

fn chosen(options: &Options) -> Vec<Case> {
    let sizes: &[usize] = match options.sizes.as_slice() {
        [] if options.quick => &[100],
        [] => &[100, 1000, 10_000],
        sizes => sizes,
    };
    let runtime = options.runtime.or(options.quick.then_some(Runtime::Tokio));
    let mut cases = Case::all(sizes);
    cases.retain(|case| {
        let wanted = options.rows.is_empty() || options.rows.contains(&case.row);
        wanted && runtime.is_none_or(|runtime| [runtime, Runtime::None].contains(&case.runtime) || !case.row.is_ours())
    });
    cases
}
