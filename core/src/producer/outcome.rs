//! Reports: a record's end.

use super::Producer;
use crate::storage::Storage;
use crate::{Instant, Lane, Record, SlotId};

/// A record that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed<T> {
    /// What its caller left with it.
    pub ticket: T,
    /// Where it went.
    pub lane: Lane,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// How many records were accepted before it; see [`FlushPoint::covers`](crate::FlushPoint::covers).
    pub sequence: u64,
}

impl<R: Record, T, S: Storage<R, T>> Producer<R, T, S> {
    /// The outcome of a handed-off record is known: its slot returns to the pool.
    ///
    /// `None` for a report that is stale: of a record that has ended, was never handed off, or never was. It is
    /// counted, and changes nothing.
    pub fn handle_report(&mut self, id: SlotId) -> Option<Completed<T>> {
        let index = u32::try_from(id.index()).ok();
        let completed = index.and_then(|index| self.complete(index, |slot| slot.generation == id.generation()));
        if completed.is_none() {
            self.stale += 1;
        }
        completed
    }
}
