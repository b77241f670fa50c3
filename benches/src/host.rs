//! The machine that measurements were made on.

use std::fs;
use std::thread;

use serde::Serialize;

/// What to know of the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// The processor's name.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel.
    pub kernel: String,
    /// librdkafka's version.
    pub librdkafka: String,
}

impl Host {
    /// Asks the system; what it does not tell is empty.
    #[must_use]
    pub fn describe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let kib = after(&memory, "MemTotal");
        Self {
            processor: after(&processors, "model name"),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
        }
    }
}
