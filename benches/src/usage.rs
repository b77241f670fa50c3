//! What this process has used.

use std::alloc::System;
use std::fs;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::broker::Failure;

/// Counts the allocations of everything that is written in Rust.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One measurement of one peer, as its process prints it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// Records sent in all, the warm-up's among them.
    pub sent: u64,
    /// Records that were measured.
    pub records: u64,
    /// How long they took, to the last outcome.
    pub seconds: f64,
    /// What they took of all cores, in this process.
    pub cpu_seconds: f64,
    /// Allocations in Rust, for those who are.
    pub allocations: Option<u64>,
    /// The most memory that the process has had, payload buffer included.
    pub peak_kib: u64,
    /// Records that failed.
    pub failed: u64,
}

/// A measurement that has begun.
pub struct Usage {
    start: Instant,
    cpu: f64,
    allocations: Region<'static, System>,
}

impl Usage {
    /// Begins.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn begin() -> Result<Self, Failure> {
        Ok(Self { cpu: cpu_seconds()?, allocations: Region::new(ALLOCATOR), start: Instant::now() })
    }

    /// Ends after `records`, of which `failed` failed, and `warm_up` more before.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn end(self, records: u64, warm_up: u64, failed: u64) -> Result<Measured, Failure> {
        let seconds = self.start.elapsed().as_secs_f64();
        let change = self.allocations.change();
        Ok(Measured {
            sent: warm_up + records,
            records,
            seconds,
            cpu_seconds: cpu_seconds()? - self.cpu,
            allocations: Some((change.allocations + change.reallocations) as u64),
            peak_kib: memory_kib("VmHWM:")?,
            failed,
        })
    }
}

fn cpu_seconds() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// A line of `/proc/self/status` that is given in KiB: `VmHWM:` for the peak, `VmRSS:` for now.
///
/// # Errors
/// When there is no such line.
pub fn memory_kib(line: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next());
    Ok(found.ok_or_else(|| format!("/proc/self/status has no {line}"))?.parse()?)
}
