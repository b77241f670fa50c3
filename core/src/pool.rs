//! The fixed pool: slots, their free list, and the list of all outstanding records by age.

use core::marker::PhantomData;

use crate::slot::{Block, Links, List, NIL, Slot, State};
use crate::storage::Table;
use crate::{Completed, Instant, Lane, SlotId};

/// A fresh slot is only taken when all others are in use, so a large pool costs no more cache than the records in flight
/// need.
///
/// Slots are reused block by block, the block that got its first vacant slot earliest first. By its turn most of its
/// slots are vacant, in whatever order records end. So memory is read in one direction, which processors predict, and not
/// at random, which would cost more than all the rest.
pub(crate) struct Pool<R, T, S> {
    slots: S,
    /// The block that slots are taken from, and the vacant ones that are left of it, a bit for each.
    current: u32,
    vacant: u32,
    /// Other blocks with vacant slots.
    free: List,
    /// All outstanding records, oldest first.
    by_age: List,
    /// Records whose time has passed while the backend has them, earliest first.
    late: List,
    pub(crate) in_use: usize,
    pub(crate) bytes: usize,
    contents: PhantomData<(R, T)>,
}

/// What a slot begins with, apart from the record and its ticket.
pub(crate) struct SlotInit {
    pub(crate) lane: u32,
    pub(crate) sequence: u64,
    pub(crate) accepted_at: Instant,
    pub(crate) size: u32,
    pub(crate) overhead: u32,
}

/// What is left of a record whose slot was released.
pub(crate) struct Released<T> {
    slot: SlotId,
    pub(crate) ticket: T,
    pub(crate) lane: u32,
    pub(crate) accepted_at: Instant,
    pub(crate) sequence: u64,
    /// What the record counted for in the pool.
    pub(crate) cost: usize,
}

impl<T> Released<T> {
    /// The same, with the name of its lane.
    pub(crate) fn completed(self, lane: Lane) -> Completed<T> {
        let Self { slot, ticket, accepted_at, sequence, .. } = self;
        Completed { slot, ticket, lane, accepted_at, sequence }
    }
}

impl<R, T, S: Table<Slot<R, T>>> Pool<R, T, S> {
    pub(crate) fn new(slots: S) -> Self {
        Self {
            slots,
            current: 0,
            vacant: 0,
            free: List::EMPTY,
            by_age: List::EMPTY,
            late: List::EMPTY,
            in_use: 0,
            bytes: 0,
            contents: PhantomData,
        }
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
            State::Vacant | State::HandedOff { .. } | State::Late { .. } | State::Overdue => None,
        }
    }

    /// Puts a buffered record behind `previous` in its lane's list, or before all others.
    pub(crate) fn link(&mut self, list: &mut List, index: u32, previous: u32) {
        let next = match self.in_lane_mut(previous) {
            Some(previous) => core::mem::replace(&mut previous.next, index),
            None => core::mem::replace(&mut list.head, index),
        };
        match self.in_lane_mut(next) {
            Some(next) => next.previous = index,
            None => list.tail = index,
        }
        if let Some(links) = self.in_lane_mut(index) {
            *links = Links { previous, next };
        }
    }

    /// Takes the record between `links` out of its lane's list.
    pub(crate) fn unlink(&mut self, list: &mut List, links: Links) {
        match self.in_lane_mut(links.previous) {
            Some(previous) => previous.next = links.next,
            None => list.head = links.next,
        }
        match self.in_lane_mut(links.next) {
            Some(next) => next.previous = links.previous,
            None => list.tail = links.previous,
        }
    }

    /// A slot for [`Pool::occupy`], which must follow: one of the current block, or a fresh one.
    #[inline]
    pub(crate) fn vacant(&mut self) -> Option<u32> {
        if self.vacant == 0 {
            let Some(block) = self.block_mut(self.free.head) else {
                let index = u32::try_from(self.slots.values().len()).ok()?;
                self.slots.push(Slot::VACANT).ok()?;
                return Some(index);
            };
            let Block { vacant, behind } = core::mem::replace(block, Block::FULL);
            self.vacant = vacant;
            self.current = core::mem::replace(&mut self.free.head, behind);
        }
        let lowest = self.vacant.trailing_zeros();
        self.vacant &= self.vacant.wrapping_sub(1);
        Some(self.current * Block::LEN + lowest)
    }

    fn block_mut(&mut self, number: u32) -> Option<&mut Block> {
        self.get_mut(number.checked_mul(Block::LEN)?).map(|slot| &mut slot.block)
    }

    /// Notes that the slot at `index` is vacant.
    #[inline]
    fn vacate(&mut self, index: u32) {
        let (number, bit) = (index / Block::LEN, 1 << (index % Block::LEN));
        if number == self.current {
            self.vacant |= bit;
            return;
        }
        let Some(block) = self.block_mut(number) else { return };
        let was_full = block.vacant == 0;
        block.vacant |= bit;
        if was_full {
            let last = core::mem::replace(&mut self.free.tail, number);
            if self.free.head == NIL {
                self.free.head = number;
            } else if let Some(last) = self.block_mut(last) {
                last.behind = number;
            }
        }
    }

    /// Gives the vacant slot at `index` to a record, at the young end of its lane and of all.
    #[inline]
    pub(crate) fn occupy(&mut self, index: u32, list: &mut List, init: SlotInit, record: R, ticket: T) -> SlotId {
        let before = core::mem::replace(&mut list.tail, index);
        match self.in_lane_mut(before) {
            Some(before) => before.next = index,
            None => list.head = index,
        }
        let elder = core::mem::replace(&mut self.by_age.tail, index);
        match self.get_mut(elder) {
            Some(elder) => elder.in_age.next = index,
            None => self.by_age.head = index,
        }
        self.in_use += 1;
        self.bytes += (init.size as usize).saturating_add(init.overhead as usize);
        let Some(slot) = self.slots.values_mut().get_mut(index as usize) else { return SlotId::new(index, 0) };
        slot.lane = init.lane;
        slot.in_age = Links { previous: elder, next: NIL };
        slot.state = State::Buffered(Links { previous: before, next: NIL });
        slot.ticket = Some(ticket);
        slot.size = init.size;
        slot.overhead = init.overhead;
        slot.accepted_at = init.accepted_at;
        slot.sequence = init.sequence;
        slot.record = Some(record);
        SlotId::new(index, slot.generation)
    }

    /// Ends the use of a slot, if it is as expected: the next use gets another generation. The record was taken out.
    pub(crate) fn release(&mut self, index: u32, expected: impl Fn(&Slot<R, T>) -> bool) -> Option<Released<T>> {
        let slot = self.slots.values_mut().get_mut(index as usize).filter(|slot| expected(slot))?;
        let ticket = slot.ticket.take()?;
        let (age, cost) = (slot.in_age, slot.cost());
        let Slot { generation, lane, accepted_at, sequence, .. } = *slot;
        let slot_id = SlotId::new(index, generation);
        let released = Released { slot: slot_id, ticket, lane, accepted_at, sequence, cost };
        slot.end_use();
        self.leave_age(age);
        self.get_back(index, cost);
        Some(released)
    }

    /// Counts a slot whose use has ended as vacant again.
    #[inline(always)]
    fn get_back(&mut self, index: u32, cost: usize) {
        self.vacate(index);
        self.in_use -= 1;
        self.bytes -= cost;
    }

    /// Takes a record out of the list of all by age.
    #[inline(always)]
    fn leave_age(&mut self, age: Links) {
        match self.get_mut(age.previous) {
            Some(previous) => previous.in_age.next = age.next,
            None => self.by_age.head = age.next,
        }
        match self.get_mut(age.next) {
            Some(next) => next.in_age.previous = age.previous,
            None => self.by_age.tail = age.previous,
        }
    }

    /// Ends a record that the backend has and whose time has passed by `now`: its slot stays in use.
    pub(crate) fn end_late(&mut self, index: u32, now: Instant) -> Option<Released<T>> {
        let last = self.late.tail;
        let slot = self.get_mut(index)?;
        let State::HandedOff { batch } = slot.state else { return None };
        let (age, ticket, cost) = (slot.in_age, slot.ticket.take()?, slot.cost());
        let Slot { generation, lane, accepted_at, sequence, .. } = *slot;
        slot.state = State::Late { batch };
        slot.in_age = Links { previous: last, next: NIL };
        slot.accepted_at = now;
        self.leave_age(age);
        self.late.tail = index;
        match self.get_mut(last) {
            Some(last) => last.in_age.next = index,
            None => self.late.head = index,
        }
        Some(Released { slot: SlotId::new(index, generation), ticket, lane, accepted_at, sequence, cost })
    }

    /// Takes a record out of the list of the late ones.
    fn leave_late(&mut self, links: Links) {
        match self.get_mut(links.previous) {
            Some(previous) => previous.in_age.next = links.next,
            None => self.late.head = links.next,
        }
        match self.get_mut(links.next) {
            Some(next) => next.in_age.previous = links.previous,
            None => self.late.tail = links.previous,
        }
    }

    /// Counts the first of the late records as overdue; returns its lane.
    pub(crate) fn give_up_late(&mut self) -> Option<u32> {
        let slot = self.get_mut(self.late.head)?;
        let (lane, links) = (slot.lane, slot.in_age);
        slot.state = State::Overdue;
        self.leave_late(links);
        Some(lane)
    }

    /// Ends the use of a slot whose record has ended before: returns its lane, its cost, and whether the record was late.
    pub(crate) fn release_ended(&mut self, id: SlotId) -> Option<(u32, usize, bool)> {
        let (index, slot) = self.named(id)?;
        let (cost, lane, links) = (slot.cost(), slot.lane, slot.in_age);
        let late = match slot.state {
            State::Late { .. } => true,
            State::Overdue => false,
            State::Vacant | State::Buffered(_) | State::HandedOff { .. } => return None,
        };
        if late {
            self.leave_late(links);
        }
        self.get_mut(index)?.end_use();
        self.get_back(index, cost);
        Some((lane, cost, late))
    }

    /// The index of the oldest outstanding record.
    pub(crate) fn eldest(&self) -> u32 {
        self.by_age.head
    }

    /// When the oldest outstanding record was produced.
    #[inline]
    pub(crate) fn eldest_at(&self) -> Option<Instant> {
        self.get(self.by_age.head).map(|slot| slot.accepted_at)
    }

    /// The late record that has been late for longest.
    pub(crate) fn first_late(&self) -> Option<&Slot<R, T>> {
        self.get(self.late.head)
    }

    /// Its name.
    pub(crate) fn first_late_id(&self) -> Option<SlotId> {
        self.first_late().map(|slot| SlotId::new(self.late.head, slot.generation))
    }
}
