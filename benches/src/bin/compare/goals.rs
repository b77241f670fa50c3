//! The goals.

use aioproducer_benches::spread::Spread;
use serde::Serialize;

use crate::case::{Row, Runtime};
use crate::rounds::{Series, allocations, cpu_ns};

/// Rows, the rows they are compared with, bytes of a payload, the ratio of records per second to reach, and the floor: half of
/// the goal, or less where other work on the machine could hide the ratio.
const RATIOS: [(Row, Row, usize, f64, f64); 12] = [
    (Row::Pipelined, Row::Future, 100, 4.5, 2.25),
    (Row::Pipelined, Row::RawCopy, 100, 1.15, 0.45),
    (Row::Pipelined, Row::RawLimit, 100, 0.75, 0.35),
    (Row::ProduceAll, Row::RawCopy, 100, 1.25, 0.45),
    (Row::Pipelined, Row::RawCopy, 1000, 1.1, 0.55),
    (Row::PipelinedBytes, Row::RawCopy, 1000, 1.4, 0.7),
    (Row::PipelinedKeyed, Row::FutureKeyed, 100, 3.0, 1.5),
    (Row::PipelinedHeaders, Row::FutureHeaders, 100, 2.0, 1.0),
    (Row::Tasks, Row::FutureTasks, 100, 2.5, 0.8),
    (Row::Callback, Row::Pipelined, 100, 0.9, 0.5),
    (Row::PipelinedKeyedBytes, Row::PipelinedKeyed, 100, 0.9, 0.65),
    (Row::CallbackKeyed, Row::PipelinedKeyed, 100, 0.9, 0.5),
];

/// Rows that, at 100 bytes, must allocate less than [`ALLOCATIONS`] times per record.
const FREE_OF_ALLOCATIONS: [Row; 2] = [Row::Pipelined, Row::PipelinedBytes];

const ALLOCATIONS: f64 = 0.01;

/// Nanoseconds of CPU that `pipelined` may take per record of 100 bytes, beyond those of `raw-copy`.
const CPU_NS: f64 = 50.0;

/// Its floor. The usual value on a machine with 2 cores is from 110 to 340: both rows take some 700, and vary by a fifth.
const CPU_NS_FLOOR: f64 = 500.0;

/// A value with a limit on one side.
#[derive(Serialize)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) bound: Bound,
    pub(crate) limit: f64,
    /// A limit that a regression misses and noise does not.
    pub(crate) floor: f64,
}

/// The limit for a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The goal.
    Goal,
    /// The floor.
    Floor,
}

/// The side.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
}

impl Bound {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AtLeast => "at least",
            Self::AtMost => "at most",
        }
    }
}

impl Goal {
    /// Whether the value is on the right side.
    pub(crate) fn is_met(&self, against: Against) -> bool {
        let limit = match against {
            Against::Goal => self.limit,
            Against::Floor => self.floor,
        };
        match self.bound {
            Bound::AtLeast => self.value >= limit,
            Bound::AtMost => self.value <= limit,
        }
    }

    /// The value, with as many digits as the limit.
    pub(crate) fn shown(&self) -> String {
        let digits = if self.limit < 0.1 { 4 } else { 2 };
        format!("{:.digits$}", self.value)
    }

    /// In words.
    pub(crate) fn verdict(&self) -> &'static str {
        if self.is_met(Against::Goal) { "met" } else { "missed" }
    }
}

/// The goals that this measurement can judge.
pub(crate) fn goals(all: &[Series]) -> Vec<Goal> {
    let find = |row, size| {
        let wanted = |series: &&Series| {
            let case = series.case;
            case.row == row && case.size == size && case.runtime != Runtime::Smol
        };
        all.iter().find(wanted)
    };
    let ratio = |(row, peer, size, limit, floor): (Row, Row, usize, f64, f64)| {
        let value = find(row, size)?.ratio(find(peer, size)?).median;
        let name = format!("{} to {}, {size} B", row.name(), peer.name());
        Some(Goal { name, value, bound: Bound::AtLeast, limit, floor })
    };
    let free = |row: Row| {
        let rounds: Option<Vec<f64>> = find(row, 100)?.rounds.iter().map(allocations).collect();
        let name = format!("{}, 100 B, allocations per record", row.name());
        let (value, limit) = (Spread::of(rounds?).median, ALLOCATIONS);
        Some(Goal { name, value, bound: Bound::AtMost, limit, floor: limit })
    };
    let cpu = || {
        let (ours, raw) = (find(Row::Pipelined, 100)?, find(Row::RawCopy, 100)?);
        let value = ours.beside(raw, |ours, raw| cpu_ns(ours) - cpu_ns(raw)).median;
        let name = "pipelined less raw-copy, 100 B, CPU ns per record".to_owned();
        Some(Goal { name, value, bound: Bound::AtMost, limit: CPU_NS, floor: CPU_NS_FLOOR })
    };
    let ratios = RATIOS.into_iter().filter_map(ratio);
    ratios.chain(FREE_OF_ALLOCATIONS.into_iter().filter_map(free)).chain(cpu()).collect()
}

/// Prints them, if there are any.
pub(crate) fn print(goals: &[Goal]) {
    if goals.is_empty() {
        return;
    }
    println!("\n{:<50} {:>9} {:>17}", "goal", "value", "limit");
    for goal in goals {
        let Goal { name, bound, limit, .. } = goal;
        let (value, bound, verdict) = (goal.shown(), bound.name(), goal.verdict());
        println!("{name:<50} {value:>9} {bound:>9} {limit:>7.2}   {verdict}");
    }
}
