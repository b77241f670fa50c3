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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Vacant,
    Buffered,
    HandedOff,
}

/// One place of the pool. It keeps a record's account from produce to its one outcome; the record itself is inside
/// except while a backend works on it.
#[derive(Debug)]
pub struct Slot<R, T> {
    pub(crate) generation: u32,
    pub(crate) lane: u32,
    /// Place among the lane's outstanding records; in a vacant slot `next` is the free list.
    pub(crate) in_lane: Links,
    /// Place among all outstanding records, oldest first.
    pub(crate) in_age: Links,
    pub(crate) sequence: u64,
    pub(crate) accepted_at: Instant,
    pub(crate) size: usize,
    pub(crate) state: State,
    pub(crate) ticket: Option<T>,
    pub(crate) record: Option<R>,
}

impl<R, T> Slot<R, T> {
    pub(crate) const VACANT: Self = Self {
        generation: 0,
        lane: NIL,
        in_lane: Links::NONE,
        in_age: Links::NONE,
        sequence: 0,
        accepted_at: Instant::ZERO,
        size: 0,
        state: State::Vacant,
        ticket: None,
        record: None,
    };
}
