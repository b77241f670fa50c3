//! Records with a timeout of their own.
//!
//! The machine and the backend know one delivery timeout. A record with a shorter one is kept here: it fails when its own
//! timeout passes, wherever it is by then. If the backend has it, its caller gets a copy, which was made at hand-off and shares
//! the record's bytes, and the slot stays taken until the backend lets go of the record.

use std::collections::{BTreeMap, HashMap};

use aioproducer_core::{Instant, SlotId};

use crate::record::OwnedRecord;

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

    pub(super) fn insert(&mut self, slot: SlotId, at: Instant) {
        self.times.insert(slot, at);
        self.copies.insert((at, slot), None);
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(SlotId, Option<OwnedRecord>)> {
        let ((_, slot), copy) = self.copies.first_entry().filter(|entry| entry.key().0 <= now)?.remove_entry();
        self.times.remove(&slot);
        Some((slot, copy))
    }
}
