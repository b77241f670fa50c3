//! Records with a timeout of their own.
//!
//! The machine and the backend know one delivery timeout. A record with a shorter one is looked after here: its outcome is
//! told when its own time is over, wherever it is by then. If the backend has it, a copy, which shares its bytes and was
//! made at hand-off, goes back to the caller, and the slot stays taken until the backend is done with the record.

use std::collections::{BTreeMap, HashMap};

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_core::{Instant, RetractError, SlotId};

use crate::outcome::ticket::Ticket;
use crate::record::OwnedRecord;
use crate::state::driver::TIMED_OUT;
use crate::state::effects::{Discard, Effects};
use crate::state::shared::{Shared, State};

/// Records that one call fails at most.
const BUDGET: usize = 16;

const LATE: Failure = Failure::new(
    FailureKind::TimedOut,
    Status::PossiblyPersisted,
    None,
    "the record's own timeout passed while the backend was about to deliver it",
);

/// Which records have a timeout of their own, by time and by slot.
#[derive(Default)]
pub(crate) struct Timeouts {
    /// With a copy of those that are handed off.
    copies: BTreeMap<(Instant, SlotId), Option<OwnedRecord>>,
    times: HashMap<SlotId, Instant>,
}

impl Timeouts {
    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When the first of them is over.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.copies.first_key_value().map(|((at, _), _)| *at)
    }

    /// Forgets a record that has ended.
    pub(crate) fn remove(&mut self, slot: SlotId) -> Option<OwnedRecord> {
        let at = self.times.remove(&slot)?;
        self.copies.remove(&(at, slot)).flatten()
    }

    /// The record is about to be handed off.
    pub(crate) fn keep(&mut self, slot: SlotId, record: &OwnedRecord) {
        if let Some(at) = self.times.get(&slot)
            && let Some(copy) = self.copies.get_mut(&(*at, slot))
        {
            *copy = Some(record.clone());
        }
    }

    /// Forgets all; returns the copies.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = OwnedRecord> + use<> {
        self.times.clear();
        std::mem::take(&mut self.copies).into_values().flatten()
    }

    fn insert(&mut self, slot: SlotId, at: Instant) {
        self.times.insert(slot, at);
        self.copies.insert((at, slot), None);
    }

    fn pop_due(&mut self, now: Instant) -> Option<(SlotId, Option<OwnedRecord>)> {
        let ((_, slot), copy) = self.copies.first_entry().filter(|entry| entry.key().0 <= now)?.remove_entry();
        self.times.remove(&slot);
        Some((slot, copy))
    }
}

impl State {
    /// Looks after a record's own timeout, which is over at `at`.
    pub(crate) fn note_timeout(&mut self, slot: SlotId, at: Instant, effects: &mut Effects) {
        self.timeouts.insert(slot, at);
        if at < self.armed {
            effects.wakers.extend(self.driver.take());
        }
    }

    /// Fails records whose own timeout is over; false if there may be more of them.
    pub(crate) fn expire_own(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        for _ in 0..BUDGET {
            let Some((slot, copy)) = self.timeouts.pop_due(now) else { return true };
            match self.machine.retract(slot) {
                Ok((record, ended)) => {
                    effects.discard.extend(copy.map(Discard::Record));
                    self.fail(shared, ended, TIMED_OUT, Some(record), effects);
                }
                Err(RetractError::HandedOff) => {
                    if let Some(ticket) = self.machine.ticket_mut(slot) {
                        let ticket = std::mem::replace(ticket, Ticket::NOBODY);
                        self.tell_failure(shared, ticket, LATE, None, copy, effects);
                    }
                }
                Err(_) => effects.discard.extend(copy.map(Discard::Record)),
            }
        }
        false
    }
}
