//! Which partition a record goes to.

pub(crate) mod choice;
pub(crate) mod partition_groups;
pub(crate) mod partitioner;
