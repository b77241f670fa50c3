//! The cluster: brokers, topics and their logs, transactions, and the faults of a test. Nothing here knows a producer; clients ask.

mod coordinator;
mod event;
mod fate;
mod findings;
mod holds;
mod replication;
mod requests;
mod state;
mod swarm;
mod topology;

pub(crate) use self::coordinator::Identity;
pub use self::event::Trace;
pub(crate) use self::event::{Sent, What};
pub(crate) use self::fate::{Api, Fate, Rule, Scope, Target};
pub use self::requests::Acks;
pub(crate) use self::requests::{Answer, Append, Arrival, Ask, Flight, Reply, Work};
pub(crate) use self::state::{Shared, State, Timeline};
pub use self::swarm::FaultKind;
pub(crate) use self::swarm::{Quota, Swarm};
