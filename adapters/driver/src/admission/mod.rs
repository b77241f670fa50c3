//! A record's way in: what is checked, the inbox, the policy of a full pool, and the tasks that wait for room.
//!
//! These are leaves that are asked and answer with values: none knows the producer's shared state, and none takes a lock. The
//! decision whether a record is accepted is made in `state`, which asks them.

pub(crate) mod error;
pub(crate) mod inbox;
pub(crate) mod lane_waiters;
pub(crate) mod room;
pub(crate) mod rules;
pub(crate) mod wait_limit;
pub(crate) mod waiters;
