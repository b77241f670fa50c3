//! What is left of a record that has ended.

use crate::{Instant, Lane, SlotId};

/// A record that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed<T> {
    /// The slot that it had.
    pub slot: SlotId,
    /// What its caller left with it.
    pub ticket: T,
    /// Where it went.
    pub lane: Lane,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// How many records were accepted before it. A [flush](crate::FlushPoint) whose position is above waits for it.
    pub sequence: u64,
}

/// A record that ended without a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreported<R, T> {
    /// The record, if the machine has it, or has a copy: of a record that the backend has, the one that
    /// [`Producer::poll_batch`](crate::Producer::poll_batch) was given, if it wanted one.
    pub record: Option<R>,
    /// Its account.
    pub ended: Completed<T>,
    /// Whether the backend has it: then it may be in the log.
    pub handed_off: bool,
}
