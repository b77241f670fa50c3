//! What is measured: by which client and call, on which runtime, and with which size of records.

use std::fmt;

use aioproducer_benches::settings;
use clap::ValueEnum;
use serde::Serialize;

use crate::measure::TASKS;

/// A way of producing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    /// librdkafka's C API: `rd_kafka_produce_batch`, partition unassigned, payloads copied, reports as event arrays.
    RawCopy,
    /// The same with the partition given and payloads borrowed: the limit of what the library can do.
    RawLimit,
    /// `rdkafka`'s `BaseProducer`, polled by the sender.
    Base,
    /// `rdkafka`'s `ThreadedProducer`.
    Threaded,
    /// `rdkafka`'s `FutureProducer::send_result`, its futures awaited in order, a window behind.
    Future,
    /// The same, each record with a key.
    FutureKeyed,
    /// The same, each record with two headers.
    FutureHeaders,
    /// `FutureProducer::send` in a thousand tasks, each awaiting its own.
    FutureTasks,
    /// `AioProducer::produce` of borrowed payloads, the deliveries awaited in order, a window behind.
    Pipelined,
    /// The same, strictly idempotent (`enable.strict.idempotence`).
    PipelinedStrict,
    /// The same as `pipelined` with payloads that are `Bytes`.
    PipelinedBytes,
    /// The same as `pipelined`, each record with a key.
    PipelinedKeyed,
    /// The same with keys and payloads that are `Bytes`.
    PipelinedKeyedBytes,
    /// The same as `pipelined`, each record with two headers.
    PipelinedHeaders,
    /// `AioProducer::produce`, the deliveries dropped; a flush at the end.
    Dropped,
    /// `AioProducer::produce_with`, a callback that counts; a flush at the end.
    Callback,
    /// The same, each record with a key.
    CallbackKeyed,
    /// `AioProducer::produce_all`.
    ProduceAll,
    /// `AioProducer::send` in a thousand tasks, each awaiting its own.
    Tasks,
    /// The same, strictly idempotent (`enable.strict.idempotence`).
    TasksStrict,
}

/// What runs the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runtime {
    /// A plain thread.
    None,
    /// tokio's multi-threaded runtime.
    Tokio,
    /// smol's global executor.
    Smol,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) row: Row,
    pub(crate) runtime: Runtime,
    /// Bytes of a payload.
    pub(crate) size: usize,
    /// Halves the number of records.
    pub(crate) quick: bool,
}

impl Row {
    /// Its name on the command line and in the results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// A sentence on what it does.
    pub(crate) fn help(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Whether it measures this project.
    pub(crate) fn is_ours(self) -> bool {
        !matches!(self.runtimes(), [Runtime::None] | [Runtime::Tokio])
    }

    /// Whether it measures librdkafka's C API.
    pub(crate) fn is_raw(self) -> bool {
        matches!(self, Self::RawCopy | Self::RawLimit)
    }

    /// Whether it has a goal.
    pub(crate) fn is_gated(self) -> bool {
        !matches!(self, Self::Base | Self::Threaded | Self::Dropped) && !self.is_strict()
    }

    /// The `FutureProducer`'s row that does the same as a row of ours.
    pub(crate) fn counterpart(self) -> Self {
        match self {
            Self::PipelinedKeyed | Self::PipelinedKeyedBytes | Self::CallbackKeyed => Self::FutureKeyed,
            Self::PipelinedHeaders => Self::FutureHeaders,
            Self::Tasks | Self::TasksStrict => Self::FutureTasks,
            _ => Self::Future,
        }
    }

    /// Whether a thousand tasks wait for one record each.
    pub(crate) fn is_tasks(self) -> bool {
        matches!(self, Self::FutureTasks | Self::Tasks | Self::TasksStrict)
    }

    /// Whether its producer is strictly idempotent.
    pub(crate) fn is_strict(self) -> bool {
        matches!(self, Self::PipelinedStrict | Self::TasksStrict)
    }

    /// How long librdkafka lingers, in milliseconds: its default, except where records are waited for one by one.
    pub(crate) fn linger_ms(self) -> u32 {
        if self.is_tasks() { 0 } else { 5 }
    }

    fn runtimes(self) -> &'static [Runtime] {
        match self {
            Self::RawCopy | Self::RawLimit | Self::Base | Self::Threaded => &[Runtime::None],
            Self::Future | Self::FutureKeyed | Self::FutureHeaders | Self::FutureTasks => &[Runtime::Tokio],
            Self::Pipelined
            | Self::PipelinedStrict
            | Self::PipelinedBytes
            | Self::PipelinedKeyed
            | Self::PipelinedKeyedBytes
            | Self::PipelinedHeaders
            | Self::Dropped
            | Self::Callback
            | Self::CallbackKeyed
            | Self::ProduceAll
            | Self::Tasks
            | Self::TasksStrict => &[Runtime::Tokio, Runtime::Smol],
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        })
    }
}

impl Case {
    /// All cases for the given sizes.
    pub(crate) fn all(sizes: &[usize], quick: bool) -> Vec<Self> {
        let rows = |size: usize| {
            let cases = move |row: &Row| {
                let row = *row;
                row.runtimes().iter().map(move |runtime| Self { row, runtime: *runtime, size, quick })
            };
            Row::value_variants().iter().flat_map(cases)
        };
        sizes.iter().flat_map(|size| rows(*size)).collect()
    }

    /// The number of records that take about a second, or half a second.
    pub(crate) fn records(self) -> usize {
        let most = if self.row.is_tasks() { 300_000 } else { 2_000_000 };
        let share = if self.quick { 2 } else { 1 };
        (most.min(600_000_000 / self.size) / share).next_multiple_of(TASKS)
    }

    /// Records before those that are measured: enough for every pool to have its final size.
    pub(crate) fn warm_up(self) -> usize {
        (2 * settings::window(self.size)).next_multiple_of(TASKS).min(self.records())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.row.name())?;
        if self.runtime != Runtime::None {
            write!(f, "{}, ", self.runtime)?;
        }
        write!(f, "{} B", self.size)
    }
}
