//! The results of the rounds: a table for people, JSON for programs.

use std::collections::BTreeMap;

use aioproducer_benches::host::Host;
use aioproducer_benches::settings;
use aioproducer_benches::spread::Spread;
use serde::Serialize;

use crate::case::{Row, Runtime};
use crate::goals::{self, Goal};
use crate::rounds::{Series, allocations, cpu_ns, rate};

/// Everything, as `--json` writes it.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Host,
    pub(crate) settings: BTreeMap<&'static str, String>,
    pub(crate) rows: Vec<Line>,
    pub(crate) goals: Vec<Goal>,
}

/// One case's medians.
#[derive(Serialize)]
pub(crate) struct Line {
    #[serde(rename = "name")]
    pub(crate) row: Row,
    pub(crate) runtime: Runtime,
    pub(crate) size: usize,
    /// Records of one round.
    pub(crate) records: usize,
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
    pub(crate) spreads: Spreads,
    /// Ratios of records per second within a round, by peer.
    pub(crate) vs: BTreeMap<Row, Spread>,
}

/// The ranges around the medians of the same names.
#[derive(Serialize)]
pub(crate) struct Spreads {
    pub(crate) records_per_s: Spread,
    pub(crate) cpu_ns: Spread,
}

impl Results {
    pub(crate) fn of(all: &[Series], rounds: usize, broker: &str) -> Self {
        let mut settings: BTreeMap<_, _> = settings::settings(5).into_iter().collect();
        settings.insert("broker", broker.to_owned());
        settings.insert("rounds", rounds.to_string());
        settings.insert("partitions", settings::PARTITIONS.to_string());
        settings.insert("linger.ms of the rows with tasks", "0".into());
        settings.insert("in flight", "100000 records or 64 MiB, 1000 in the rows with tasks".into());
        let rows = all.iter().map(|series| line(series, all)).collect();
        Self { machine: Host::describe(), settings, rows, goals: goals::goals(all) }
    }
}

fn line(series: &Series, all: &[Series]) -> Line {
    let case = series.case;
    let (rates, cpu) = (series.spread(rate), series.spread(cpu_ns));
    let allocs: Option<Vec<f64>> = series.rounds.iter().map(allocations).collect();
    let peers = all.iter().filter(|peer| case.row.is_ours() && !peer.case.row.is_ours() && peer.case.size == case.size);
    Line {
        row: case.row,
        runtime: case.runtime,
        size: case.size,
        records: case.records(),
        records_per_s: rates.median,
        mb_per_s: rates.median * case.size as f64 / 1e6,
        cpu_ns: cpu.median,
        allocs: allocs.map(|allocs| Spread::of(allocs).median),
        peak_mib: series.spread(|round| round.peak_kib as f64 / 1024.0).median,
        failed: series.failed(),
        confirmed: series.confirmed,
        unconfirmed: series.unconfirmed(),
        spreads: Spreads { records_per_s: rates, cpu_ns: cpu },
        vs: peers.map(|peer| (peer.case.row, series.ratio(peer))).collect(),
    }
}

/// Prints the tables.
pub(crate) fn print(results: &Results) {
    for (key, value) in &results.settings {
        println!("{key} = {value}");
    }
    println!(
        "\n{:<19} {:<7} {:>6} {:>11} {:>7} {:>7} {:>8} {:>7} {:>7} {:>10}   ratio to (median, min to max)",
        "row", "runtime", "bytes", "records/s", "MB/s", "CPU ns", "allocs", "MiB", "failed", "confirmed"
    );
    for line in &results.rows {
        let allocs = line.allocs.map_or_else(|| "-".to_owned(), |allocs| format!("{allocs:.4}"));
        let ratios: Vec<_> = [line.row.counterpart(), Row::RawCopy, Row::RawLimit]
            .into_iter()
            .filter_map(|peer| line.vs.get(&peer).map(|ratio| (peer.name(), ratio)))
            .map(|(peer, ratio)| format!("{peer} {:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max))
            .collect();
        println!(
            "{:<19} {:<7} {:>6} {:>11.0} {:>7.0} {:>7.0} {:>8} {:>7.0} {:>7} {:>10}   {}",
            line.row.name(),
            line.runtime,
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
    goals::print(&results.goals);
}
