//! The command line.

use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;

use clap::Parser;

/// Send the lines of a text to Kafka, read them back, and compare.
///
/// The broker is embedded and lives as long as the command. To use another, set AIOPRODUCER_BOOTSTRAP to its
/// host:port.
///
/// The exit code is 0 if each line was read back exactly once, in the order of sending within its partition; 1 if not,
/// or if something failed; 2 if the arguments are wrong.
#[derive(Parser)]
#[command(name = "quickstart")]
pub(crate) struct Arguments {
    /// A file, or - for standard input; without it, a text that comes along.
    ///
    /// It is read into memory. Lines are bytes and end with a line feed, which is not sent.
    #[arg(value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// The topic to write to [default: a new one with a name of its own].
    ///
    /// If others write to it at the same time, the comparison fails.
    #[arg(long, value_name = "NAME")]
    pub(crate) topic: Option<String>,

    /// Partitions of the topic, if it is new [default: 4, or as many as the embedded broker needs].
    ///
    /// The embedded broker keeps 5 MiB in each partition. A topic that exists keeps the partitions it has.
    #[arg(long, value_name = "COUNT")]
    pub(crate) partitions: Option<NonZeroU16>,

    /// Records that may be on their way at once.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub(crate) in_flight: NonZeroUsize,
}

impl Arguments {
    /// The arguments of this process. Ends it if they are wrong, or ask for help.
    pub(crate) fn read() -> Self {
        Self::parse()
    }
}
