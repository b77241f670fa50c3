//! What applications hold: the producer's handle, its builder, and a future for each call.

pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod close;
pub(crate) mod delivery;
pub(crate) mod error;
pub(crate) mod flush;
pub(crate) mod overflow;
pub(crate) mod produce;
pub(crate) mod produce_all;
pub(crate) mod produce_with;
pub(crate) mod producer;
pub(crate) mod purge;
pub(crate) mod reports;
pub(crate) mod retract;
pub(crate) mod statistics;
pub(crate) mod transaction;
