//! Slots of the pool and the tags that name them.

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
