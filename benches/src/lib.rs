//! What the measurements share: a broker in its own process, payloads, settings, and what a process has used.

pub mod broker;
mod cluster;
pub mod host;
pub mod payload;
pub mod process;
pub mod settings;
pub mod spread;
pub mod usage;
pub mod workload;
