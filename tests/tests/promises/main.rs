//! What this project promises to applications, mostly on a backend that does what the test says.

mod batching;
mod callbacks;
mod calls;
mod chunks;
mod close;
mod ended_runtimes;
mod every_poll;
mod failures;
mod fairness;
mod flush_scopes;
mod inbox;
mod invalid_input;
mod own_runtime;
mod panics;
mod produce;
mod python;
mod records;
mod regressions;
mod reports;
mod retract;
mod room;
mod runtimes;
mod sharing;
mod transactions;
