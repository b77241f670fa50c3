//! What is under way: purges, and actions that are yet to be asked for.

use crate::PurgeScope;
use crate::slot::NIL;

/// Actions that `Producer::poll_action` has yet to return.
#[derive(Default)]
pub(super) struct Actions {
    pub(super) flush: bool,
    pub(super) shut_down: bool,
}

/// Purges that are under way.
pub(super) struct Purge {
    /// What is given up by purges whose buffered records have not all come back.
    pub(super) asked: Option<PurgeScope>,
    /// Those whose have, and that wait for batches to be settled.
    pub(super) waiting: Option<Waiting>,
    /// Buffered records below this sequence are purged.
    pub(super) below: u64,
    /// The batches to wait for have numbers up to this one,
    pub(super) batches: u64,
    /// and so many of them are not settled.
    pub(super) out: u32,
    /// Lanes that may have records to be purged.
    pub(super) lanes: u32,
}

/// What the backend is to purge when the batches up to a number are settled.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) scope: PurgeScope,
    pub(super) below: u64,
    pub(super) batches: u64,
}

impl Purge {
    pub(super) const NONE: Self = Self { asked: None, waiting: None, below: 0, batches: 0, out: 0, lanes: NIL };

    /// Whether it waits for batches to be settled.
    pub(super) const fn is_waiting(&self) -> bool {
        self.out > 0
    }

    /// Whether `Producer::poll_purged` may have records to give: none may be handed off meanwhile.
    pub(super) const fn has_buffered(&self) -> bool {
        self.lanes != NIL
    }

    /// Whether records that were not sent are meant.
    pub(super) fn queued(&self) -> bool {
        let waiting = self.waiting.map(|waiting| waiting.scope);
        self.asked.into_iter().chain(waiting).any(PurgeScope::queued)
    }
}
