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

/// What is left of a record whose slot was released.
pub(crate) struct Released<T> {
    pub(crate) ticket: T,
    pub(crate) lane: u32,
    pub(crate) accepted_at: Instant,
}

impl<R, T, S: Table<Slot<R, T>>> Pool<R, T, S> {
    pub(crate) fn new(slots: S) -> Self {
        Self { slots, free: NIL, by_age: List::EMPTY, in_use: 0, bytes: 0, contents: PhantomData }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// The most slots that were in use at once: a fresh one is only taken when all others are.
    pub(crate) fn high_water(&self) -> usize {
        self.slots.values().len()
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

    /// The slot that a tag names, `None` if the tag is stale. A guessed tag may name a vacant one.
    pub(crate) fn named(&self, id: SlotId) -> Option<(u32, &Slot<R, T>)> {
        let index = u32::try_from(id.index()).ok()?;
        self.get(index).filter(|slot| slot.generation == id.generation()).map(|slot| (index, slot))
    }

    /// A buffered record's neighbours in its lane.
    pub(crate) fn in_lane_mut(&mut self, index: u32) -> Option<&mut Links> {
        match &mut self.get_mut(index)?.state {
            State::Buffered(links) => Some(links),
            State::Vacant { .. } | State::HandedOff { .. } => None,
        }
    }

    /// A slot to occupy: the one freed last, or a fresh one.
    pub(crate) fn vacant(&mut self) -> Option<u32> {
        if let Some(Slot { state: State::Vacant { next }, .. }) = self.get(self.free) {
            let next = *next;
            return Some(core::mem::replace(&mut self.free, next));
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
        let Some(slot) = self.get_mut(index) else { return SlotId::new(index, 0) };
        slot.lane = entry.lane;
        slot.in_age = Links { previous: elder, next: NIL };
        slot.state = State::Buffered(entry.in_lane);
        slot.ticket = Some(ticket);
        slot.size = entry.size;
        slot.accepted_at = entry.accepted_at;
        slot.sequence = entry.sequence;
        slot.record = Some(record);
        SlotId::new(index, slot.generation)
    }

    /// Ends a slot's use, whose record was taken out: the next use gets another generation. `None` if it is vacant.
    pub(crate) fn release(&mut self, index: u32) -> Option<Released<T>> {
        let free = self.free;
        let slot = self.get_mut(index)?;
        let ticket = slot.ticket.take()?;
        let (age, size) = (slot.in_age, slot.size);
        let released = Released { ticket, lane: slot.lane, accepted_at: slot.accepted_at };
        slot.state = State::Vacant { next: free };
        slot.generation = slot.generation.wrapping_add(1);
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
        Some(released)
    }

    /// The oldest outstanding record's index, to walk on from by `in_age`.
    pub(crate) fn eldest(&self) -> u32 {
        self.by_age.head
    }
}
