//! A record's way in: the check, the inbox, copies of borrowed bytes, and who waits for room.

pub(crate) mod admit;
pub(crate) mod arena;
pub(crate) mod inbox;
pub(crate) mod waiters;
