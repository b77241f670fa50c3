//! Slots of the pool and the tags that name them.

use crate::Instant;

/// Names a slot of the pool for as long as one record uses it.
///
/// The generation changes each time the slot is used again, so a report that comes late or twice finds no record.
///
/// ```
/// use aioproducer_core::SlotId;
///
/// let id = SlotId::new(3, 77);
/// assert_eq!(SlotId::from_bits(id.to_bits()), id);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    index: u32,
    generation: u32,
}

impl SlotId {
    /// The slot at `index` in its use number `generation`.
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot's place in the pool, below the pool's capacity.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn to_index(self) -> u32 {
        self.index
    }

    /// Which use of the slot is meant.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both in one word, for an opaque pointer or a cookie.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The inverse of [`SlotId::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// No index: the end of a list.
pub(crate) const NIL: u32 = u32::MAX;

/// Neighbours in an intrusive list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

impl Links {
    pub(crate) const NONE: Self = Self { previous: NIL, next: NIL };
}

/// Ends of an intrusive list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };
}

/// Where a slot's record is, with what belongs to that place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// There is none.
    Vacant,
    /// In the slot; the place among the lane's buffered records.
    Buffered(Links),
    /// At the backend; the lower half of the number of its batch.
    HandedOff { batch: u32 },
    /// At the backend, though the record has ended: its time has passed.
    Late { batch: u32 },
    /// At the backend, though the record has ended: its report is overdue.
    Overdue,
}

/// One place of the pool. It has a record's account from produce to its one outcome, and the record itself except while
/// the backend has it.
///
/// The account comes first and is compact: three threads touch it in turn, but only two of them touch the record.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slot<R, T> {
    pub(crate) generation: u32,
    pub(crate) lane: u32,
    /// Place among all outstanding records, oldest first, or among the late ones.
    pub(crate) in_age: Links,
    pub(crate) state: State,
    pub(crate) ticket: Option<T>,
    /// Counts for the pool, beyond the size.
    pub(crate) overhead: u32,
    pub(crate) size: u32,
    /// Where the heap of own timeouts has it, `NIL` if it has none.
    pub(crate) timer: u32,
    /// When the record was produced; of a late one: when its time had passed.
    pub(crate) accepted_at: Instant,
    pub(crate) sequence: u64,
    /// The record; while the backend has it, perhaps a copy of it.
    pub(crate) record: Option<R>,
    /// In the first slot of a block: what the free list knows of the block.
    pub(crate) block: Block,
}

/// Neighbouring slots, a few pages of memory, which are used together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Its vacant slots, a bit for each.
    pub(crate) vacant: u32,
    /// The block behind it in the free list.
    pub(crate) behind: u32,
}

impl Block {
    /// Slots in a block.
    pub(crate) const LEN: u32 = u32::BITS;

    pub(crate) const FULL: Self = Self { vacant: 0, behind: NIL };
}

impl<R, T> Slot<R, T> {
    pub(crate) const VACANT: Self = Self {
        generation: 0,
        lane: NIL,
        in_age: Links::NONE,
        state: State::Vacant,
        ticket: None,
        overhead: 0,
        size: 0,
        timer: NIL,
        accepted_at: Instant::ZERO,
        sequence: 0,
        record: None,
        block: Block::FULL,
    };

    /// The place among the lane's buffered records, `None` for a record that is not buffered.
    pub(crate) const fn in_lane(&self) -> Option<Links> {
        match self.state {
            State::Buffered(links) => Some(links),
            State::Vacant | State::HandedOff { .. } | State::Late { .. } | State::Overdue => None,
        }
    }

    /// Makes the slot ready for its next use, which gets another generation.
    #[inline(always)]
    pub(crate) fn end_use(&mut self) {
        self.state = State::Vacant;
        self.generation = self.generation.wrapping_add(1);
    }

    /// What the record counts for in the pool.
    #[inline(always)]
    pub(crate) const fn cost(&self) -> usize {
        (self.size as usize).saturating_add(self.overhead as usize)
    }

    pub(crate) const fn is_handed_off(&self) -> bool {
        matches!(self.state, State::HandedOff { .. })
    }
}
