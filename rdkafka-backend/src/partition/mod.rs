//! Which partition a record goes to: the rules by key, the state of a topic that they are applied to, and the grouping of
//! a batch by partition. Nothing here calls librdkafka; it is given what librdkafka knows about a topic.

pub(crate) mod choice;
pub(crate) mod groups;
mod hash;
pub(crate) mod partitioner;
pub(crate) mod rule;
