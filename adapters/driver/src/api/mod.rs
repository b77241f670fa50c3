//! What applications hold: the producer's handle, its builder, and a future for each call.
//!
//! A future keeps its own place in line and its own timer. Here nothing is decided: each step asks `state` under its lock, or a
//! lower room. No lower room knows this one.

pub(crate) mod broker;
pub(crate) mod builder;
pub(crate) mod close;
pub(crate) mod delivery;
pub(crate) mod flush;
pub(crate) mod health;
pub(crate) mod produce;
pub(crate) mod produce_all;
pub(crate) mod produce_with;
pub(crate) mod producer;
pub(crate) mod purge;
pub(crate) mod reports;
pub(crate) mod retract;
pub(crate) mod statistics;
pub(crate) mod transaction;
mod watch;
