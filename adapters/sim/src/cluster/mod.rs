//! The cluster: brokers, topics and their logs, and the faults of a test. Nothing here knows a producer; clients ask.

mod event;
mod fate;
mod findings;
mod holds;
mod state;
mod swarm;
mod topology;

pub use self::event::Trace;
pub(crate) use self::event::{Sent, What};
pub(crate) use self::fate::{Fate, Rule, Scope};
pub(crate) use self::state::{Arrival, Flight, Shared, State, Timeline};
pub use self::swarm::FaultKind;
pub(crate) use self::swarm::{Quota, Swarm};
