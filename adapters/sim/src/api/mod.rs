//! What a test holds: the cluster, its brokers, topics and groups, scripted faults, and held records. Everything is decided in `cluster/`.

mod cluster;
mod control;
mod faults;
mod held;

pub use self::cluster::SimCluster;
pub use self::control::{BrokerControl, GroupView, LeaderControl, TopicView};
pub use self::faults::{EndTxn, Fault, InitProducerId, On, Produce, Requests, TxnOffsetCommit};
pub use self::held::{Held, Hold};
