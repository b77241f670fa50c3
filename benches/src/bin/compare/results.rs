//! What the rounds came to: a table for people, JSON for programs.

use std::collections::BTreeMap;

use aioproducer_benches::host::Host;
use aioproducer_benches::settings;
use aioproducer_benches::usage::Measured;
use serde::Serialize;

use crate::case::Runtime;
use crate::rounds::{Series, Spread};

/// Everything, as `--json` writes it.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Host,
    pub(crate) settings: BTreeMap<&'static str, String>,
    pub(crate) rows: Vec<Line>,
}

/// One case's medians.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) runtime: Runtime,
    pub(crate) size: usize,
    pub(crate) records_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) cpu_ns: f64,
    /// Per record; absent for C.
    pub(crate) allocs: Option<f64>,
    pub(crate) peak_mib: f64,
    pub(crate) failed: u64,
    pub(crate) confirmed: u64,
    /// Sent less confirmed.
    pub(crate) unconfirmed: i64,
    /// Ratios of records per second within a round, by peer.
    pub(crate) vs: BTreeMap<String, Spread>,
}

impl Results {
    pub(crate) fn of(all: &[Series], rounds: usize, broker: &str) -> Self {
        let mut settings: BTreeMap<_, _> = settings::settings(5).into_iter().collect();
        settings.insert("broker", broker.to_owned());
        settings.insert("rounds", rounds.to_string());
        settings.insert("partitions", settings::PARTITIONS.to_string());
        settings.insert("linger.ms of the rows with tasks", "0".into());
        settings.insert("in flight", "100000 records or 64 MiB, 1000 in the rows with tasks".into());
        Self { machine: Host::describe(), settings, rows: all.iter().map(|series| line(series, all)).collect() }
    }

    /// The ratio of a row to a peer of the same size.
    pub(crate) fn ratio(&self, name: &str, runtime: Runtime, size: usize, peer: &str) -> Option<Spread> {
        self.find(name, runtime, size)?.vs.get(peer).copied()
    }

    pub(crate) fn find(&self, name: &str, runtime: Runtime, size: usize) -> Option<&Line> {
        self.rows.iter().find(|line| line.name == name && line.runtime == runtime && line.size == size)
    }
}

fn line(series: &Series, all: &[Series]) -> Line {
    let case = series.case;
    let rate = Spread::of(series.rates()).median;
    let per_record = |of: fn(&Measured) -> f64| series.median(|round| of(round) / round.records as f64);
    let counted = series.rounds.iter().all(|round| round.allocations.is_some());
    let peers = all.iter().filter(|peer| case.row.is_ours() && !peer.case.row.is_ours() && peer.case.size == case.size);
    let ratios = |peer: &Series| Spread::of(series.rates().zip(peer.rates()).map(|(our, their)| our / their));
    Line {
        name: case.row.name(),
        runtime: case.runtime,
        size: case.size,
        records_per_s: rate,
        mb_per_s: rate * case.size as f64 / 1e6,
        cpu_ns: per_record(|round| round.cpu_seconds * 1e9),
        allocs: counted.then(|| per_record(|round| round.allocations.unwrap_or(0) as f64)),
        peak_mib: series.median(|round| round.peak_kib as f64 / 1024.0),
        failed: series.failed(),
        confirmed: series.confirmed,
        unconfirmed: series.unconfirmed(),
        vs: peers.map(|peer| (peer.case.row.name(), ratios(peer))).collect(),
    }
}

/// Prints the table.
pub(crate) fn print(results: &Results) {
    for (key, value) in &results.settings {
        println!("{key} = {value}");
    }
    println!(
        "\n{:<19} {:<7} {:>6} {:>11} {:>7} {:>7} {:>8} {:>7} {:>7} {:>10}   ratio to (median, min to max)",
        "row", "runtime", "bytes", "records/s", "MB/s", "CPU ns", "allocs", "MiB", "failed", "confirmed"
    );
    for line in &results.rows {
        let runtime = format!("{:?}", line.runtime).to_lowercase();
        let allocs = line.allocs.map_or_else(|| "-".to_owned(), |allocs| format!("{allocs:.4}"));
        let ratios: Vec<_> = ["future", "raw-copy", "raw-limit", "future-keyed", "future-headers", "future-tasks"]
            .into_iter()
            .filter(|peer| peer.starts_with("raw") || *peer == "future" || own_peer(&line.name) == Some(peer))
            .filter_map(|peer| line.vs.get(peer).map(|ratio| (peer, ratio)))
            .map(|(peer, ratio)| format!("{peer} {:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max))
            .collect();
        println!(
            "{:<19} {:<7} {:>6} {:>11.0} {:>7.0} {:>7.0} {:>8} {:>7.0} {:>7} {:>10}   {}",
            line.name,
            runtime,
            line.size,
            line.records_per_s,
            line.mb_per_s,
            line.cpu_ns,
            allocs,
            line.peak_mib,
            line.failed,
            line.confirmed,
            ratios.join(", ")
        );
    }
}

/// The peer that does the same as a row of ours, other than `future`.
fn own_peer(row: &str) -> Option<&'static str> {
    match row {
        "pipelined-keyed" => Some("future-keyed"),
        "pipelined-headers" => Some("future-headers"),
        "tasks" => Some("future-tasks"),
        _ => None,
    }
}
