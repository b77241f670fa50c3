//! Which partition a record goes to: the rules by key, the state of a topic that they are applied to, which partitions answer, and
//! the grouping of a batch by partition. Nothing here calls librdkafka; it is given what librdkafka knows about a topic.

mod candidates;
pub(crate) mod choice;
mod chooser;
pub(crate) mod groups;
mod hash;
mod leaders;
pub(crate) mod load;
pub(crate) mod partitioner;
pub(crate) mod partitioning;
pub(crate) mod rule;
pub(crate) mod states;
mod table;
mod trust;
pub(crate) mod watch;
