//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::Failure;
use crate::target::PARTITIONS;

/// The producer's delivery timeout when none is given.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// What happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Nothing: what a fault is compared with.
    Calm,
    /// One broker is paused (SIGSTOP) and goes on (SIGCONT).
    Stop,
    /// One broker is killed (SIGKILL) and started again.
    Kill,
    /// Each broker answers after a delay of its own, first the last one as fast as the first. On Kafka the wires to them are slow.
    Slow,
    /// Brokers are paused and killed in turn, again and again.
    Windows,
    /// The controller is paused and goes on: no partition gets another leader meanwhile.
    Controller,
}

/// The cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClusterKind {
    /// Three Apache Kafka brokers and a controller, which this program starts.
    Kafka,
    /// librdkafka's mock cluster in this process. It keeps the last 5 MiB of a partition, and does not check sequence numbers.
    Embedded,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Routing {
    /// Where their key leads; there are keys for each partition.
    Keyed,
    /// Anywhere.
    Keyless,
    /// To the partition that they name.
    Placed,
}

/// How records are produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallKind {
    /// By `produce`, which waits for room.
    Wait,
    /// By `try_produce`, which does not.
    Try,
}

/// A load on three brokers, one of which is hurt.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What happens to the cluster.
    pub(crate) scenario: Scenario,
    #[arg(long, default_value = "kafka")]
    pub(crate) cluster: ClusterKind,
    #[arg(long, default_value = "keyed")]
    pub(crate) keys: Routing,
    /// Different keys for each partition.
    #[arg(long, default_value_t = 50)]
    pub(crate) keys_each: usize,
    /// Records per second, by all tasks; 0 is as many as there is room for.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) rate: u64,
    /// Bytes of a payload, at least 8.
    #[arg(long, default_value_t = 100)]
    pub(crate) payload: usize,
    /// Tasks that produce. Each has a share of the partitions, or, if there are more tasks than partitions, of a partition's keys.
    #[arg(long, default_value_t = 6)]
    pub(crate) tasks: usize,
    #[arg(long, default_value = "wait")]
    pub(crate) call: CallKind,
    /// The producer's slots.
    #[arg(long, default_value_t = 65_536)]
    pub(crate) slots: usize,
    /// The producer's delivery timeout, in seconds; 120 if it is not set.
    #[arg(long, value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Seconds without progress of a partition after which the client is replaced by a new one, as it is after a fatal error; never if it
    /// is not set.
    #[arg(long, value_parser = seconds)]
    pub(crate) renew: Option<Duration>,
    /// A setting of librdkafka, as key=value.
    #[arg(long, value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Replicas of each partition; with 3, two have to be in sync.
    #[arg(long, default_value_t = 1)]
    pub(crate) replicas: i32,
    /// Seconds before the fault, of which the first 3 are not counted.
    #[arg(long, default_value_t = 13)]
    pub(crate) before: u64,
    /// Seconds of a fault, until the broker may come back.
    #[arg(long, default_value_t = 60)]
    pub(crate) fault: u64,
    /// Seconds after the broker is back, also between windows.
    #[arg(long, default_value_t = 10)]
    pub(crate) after: u64,
    /// Partitions that the topic has from a second after the first fault's begin on; it does not grow if it is not set.
    /// Rates are not judged then, as keys lead to other partitions.
    #[arg(long)]
    pub(crate) grow: Option<i32>,
    /// How many windows.
    #[arg(long, default_value_t = 10)]
    pub(crate) windows: u32,
    /// Milliseconds that each broker takes to answer, of `slow`.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 500])]
    pub(crate) delays: Vec<u64>,
    /// Milliseconds after which keyless records no longer go to a broker that does not answer.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) availability: u64,
    /// Milliseconds up to which a p99 is never too long, for machines on which other things run.
    #[arg(long, default_value_t = 0)]
    pub(crate) calm_p99: u64,
    /// Writes what became of each record, and where in the log it is, as CSV.
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,
    /// Fails if something is not as it is promised.
    #[arg(long)]
    pub(crate) check: bool,
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.cluster == ClusterKind::Embedded && (self.grow.is_some() || self.scenario == Scenario::Controller) {
            return Err(
                "the embedded cluster has no controller, and its topics do not grow: use --cluster kafka".into()
            );
        }
        if let Some(count) = self.grow.filter(|count| *count <= PARTITIONS) {
            return Err(format!("--grow {count} is not above {PARTITIONS}, which the topic has").into());
        }
        if self.delays.len() != 3 {
            return Err(format!("--delays has {} values, and there are 3 brokers", self.delays.len()).into());
        }
        if self.tasks == 0 || self.payload < 8 || self.before < 4 || self.keys_each == 0 {
            return Err("--tasks and --keys-each are at least 1, --payload 8, --before 4".into());
        }
        // Each of more tasks than partitions needs a lane of its own.
        let (partitions, lanes) = (PARTITIONS as usize, if self.keys == Routing::Placed { 1 } else { self.keys_each });
        let each = self.tasks / partitions;
        if self.keys != Routing::Keyless && each > 0 && (!self.tasks.is_multiple_of(partitions) || each > lanes) {
            return Err(format!("--tasks {} is not below 6 and not 6 times a number up to {lanes}", self.tasks).into());
        }
        Ok(())
    }

    /// Partitions of the load's topic in the end.
    pub(crate) fn partitions(&self) -> i32 {
        self.grow.unwrap_or(PARTITIONS)
    }

    pub(crate) fn delivery_timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}
