//! The fixed pool: slots, their free list, and the list of all outstanding records by age.

use core::marker::PhantomData;

use crate::slot::{Links, List, NIL, Slot, State};
use crate::storage::Table;
use crate::{Instant, SlotId};

/// Slots are reused last in, first out, so a large pool costs no more cache than the records in flight need.
pub(crate) struct Pool<R, T, S> {
    slots: S,
    free: u32,
    /// All outstanding records, oldest first: what flush measures itself by.
    by_age: List,
    pub(crate) in_use: usize,
    pub(crate) bytes: usize,
    pub(crate) high_water: usize,
    pub(crate) acquired: u64,
    contents: PhantomData<(R, T)>,
}

/// A record's account, apart from the record.
pub(crate) struct Entry {
    pub(crate) lane: u32,
    pub(crate) in_lane: Links,
    pub(crate) sequence: u64,
    pub(crate) accepted_at: Instant,
    pub(crate) size: usize,
}

impl<R, T, S: Table<Slot<R, T>>> Pool<R, T, S> {
    pub(crate) fn new(slots: S) -> Self {
        Self {
            slots,
            free: NIL,
            by_age: List::EMPTY,
            in_use: 0,
            bytes: 0,
            high_water: 0,
            acquired: 0,
            contents: PhantomData,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn has_free(&self) -> bool {
        self.in_use < self.slots.capacity()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Slot<R, T>> {
        self.slots.values().get(index as usize)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Slot<R, T>> {
        self.slots.values_mut().get_mut(index as usize)
    }

    /// The index of a live slot, `None` if the tag is stale.
    pub(crate) fn live(&self, id: SlotId, state: State) -> Option<u32> {
        let index = u32::try_from(id.index()).ok()?;
        let slot = self.get(index)?;
        (slot.generation == id.generation() && slot.state == state).then_some(index)
    }

    pub(crate) fn oldest(&self) -> Option<&Slot<R, T>> {
        self.get(self.by_age.head)
    }

    /// A slot to occupy: the one freed last, or a fresh one.
    pub(crate) fn vacant(&mut self) -> Option<u32> {
        if let Some(slot) = self.get(self.free) {
            let next_free = slot.in_lane.next;
            return Some(core::mem::replace(&mut self.free, next_free));
        }
        let index = u32::try_from(self.slots.values().len()).ok()?;
        self.slots.push(Slot::VACANT).is_ok().then_some(index)
    }

    /// Gives a vacant slot to a record, at the young end of the age list.
    pub(crate) fn occupy(&mut self, index: u32, entry: Entry, record: R, ticket: T) -> SlotId {
        let elder = core::mem::replace(&mut self.by_age.tail, index);
        match self.get_mut(elder) {
            Some(elder) => elder.in_age.next = index,
            None => self.by_age.head = index,
        }
        self.in_use += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        self.high_water = self.high_water.max(self.in_use);
        self.acquired += 1;
        let Some(slot) = self.get_mut(index) else { return SlotId::new(index, 0) };
        slot.lane = entry.lane;
        slot.sequence = entry.sequence;
        slot.accepted_at = entry.accepted_at;
        slot.size = entry.size;
        slot.state = State::Buffered;
        slot.in_lane = entry.in_lane;
        slot.in_age = Links { previous: elder, next: NIL };
        slot.record = Some(record);
        slot.ticket = Some(ticket);
        SlotId::new(index, slot.generation)
    }

    /// Ends a slot's use: the next one gets another generation.
    pub(crate) fn release(&mut self, index: u32) -> (Option<R>, Option<T>) {
        let free = self.free;
        let Some(slot) = self.get_mut(index) else { return (None, None) };
        let contents = (slot.record.take(), slot.ticket.take());
        let age = core::mem::replace(&mut slot.in_age, Links::NONE);
        let size = slot.size;
        slot.state = State::Vacant;
        slot.generation = slot.generation.wrapping_add(1);
        slot.in_lane = Links { previous: NIL, next: free };
        self.free = index;
        match self.get_mut(age.previous) {
            Some(previous) => previous.in_age.next = age.next,
            None => self.by_age.head = age.next,
        }
        match self.get_mut(age.next) {
            Some(next) => next.in_age.previous = age.previous,
            None => self.by_age.tail = age.previous,
        }
        self.in_use = self.in_use.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
        contents
    }

    /// The oldest outstanding record's index, to walk on from with [`Pool::younger`].
    pub(crate) fn eldest(&self) -> u32 {
        self.by_age.head
    }

    pub(crate) fn younger(&self, index: u32) -> u32 {
        self.get(index).map_or(NIL, |slot| slot.in_age.next)
    }
}
