//! What a test holds: the cluster, its brokers and topics, scripted faults, and held records. Everything is decided in `cluster/`.

mod cluster;
mod control;
mod faults;
mod held;

pub use self::cluster::SimCluster;
pub use self::control::{BrokerControl, LeaderControl, TopicView};
pub use self::faults::{Fault, On, Produce, Requests};
pub use self::held::{Held, Hold};
