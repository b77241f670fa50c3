//! Where slots and lanes live: memory of the caller's choice, fixed at construction.

use crate::lanes::LaneRow;
use crate::slot::Slot;

/// Memory for up to `capacity` values, filled from the front and never moved.
///
/// Implemented for [`heapless::Vec`], whose capacity is fixed at compile time, and, with the feature `alloc`, for
/// [`Boxed`], whose capacity is chosen at start-up.
pub trait Table<T> {
    /// The values so far.
    fn values(&self) -> &[T];

    /// The values so far.
    fn values_mut(&mut self) -> &mut [T];

    /// How many values there is room for.
    fn capacity(&self) -> usize;

    /// Whether there is memory for that many.
    fn has_memory(&self) -> bool {
        true
    }

    /// Adds a value behind the others.
    ///
    /// # Errors
    /// The value itself, when the table is full.
    fn push(&mut self, value: T) -> Result<(), T>;
}

impl<T, const N: usize> Table<T> for heapless::Vec<T, N> {
    fn values(&self) -> &[T] {
        self
    }

    fn values_mut(&mut self) -> &mut [T] {
        self
    }

    fn capacity(&self) -> usize {
        N
    }

    fn push(&mut self, value: T) -> Result<(), T> {
        heapless::Vec::push(self, value)
    }
}

/// The two tables of a [`Producer`](crate::Producer): its slots and its lanes.
pub trait Storage<R, T> {
    /// Holds the pool.
    type Slots: Table<Slot<R, T>>;
    /// Holds the lanes.
    type Lanes: Table<LaneRow>;

    /// Gives up both tables, still empty.
    fn into_tables(self) -> (Self::Slots, Self::Lanes);
}

/// Storage inside the machine itself, with no allocator: `SLOTS` records, `LANES` lanes.
///
/// ```
/// use aioproducer_core::{Inline, Limits, Producer, Record, Lane, TopicId};
///
/// struct Reading(u32);
/// impl Record for Reading {
///     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
///     fn size(&self) -> usize { 4 }
/// }
///
/// let limits = Limits { batch_records: 8, ..Limits::default() };
/// let machine: Producer<Reading, (), Inline<64, 2>> = Producer::new(limits, Inline::new())?;
/// assert_eq!(machine.stats().capacity, 64);
/// # Ok::<(), aioproducer_core::LimitsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline<const SLOTS: usize, const LANES: usize>;

impl<const SLOTS: usize, const LANES: usize> Inline<SLOTS, LANES> {
    /// Storage for `SLOTS` records and `LANES` lanes.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<R, T, const SLOTS: usize, const LANES: usize> Storage<R, T> for Inline<SLOTS, LANES> {
    type Slots = heapless::Vec<Slot<R, T>, SLOTS>;
    type Lanes = heapless::Vec<LaneRow, LANES>;

    fn into_tables(self) -> (Self::Slots, Self::Lanes) {
        (heapless::Vec::new(), heapless::Vec::new())
    }
}

#[cfg(feature = "alloc")]
pub use heap::{Boxed, Heap};

#[cfg(feature = "alloc")]
mod heap {
    use alloc::vec::Vec;

    use super::{Storage, Table};
    use crate::lanes::LaneRow;
    use crate::slot::Slot;

    /// One block of memory, taken whole at construction and touched as it fills.
    #[derive(Debug)]
    pub struct Boxed<T> {
        values: Vec<T>,
        capacity: usize,
    }

    impl<T> Boxed<T> {
        /// Room for `capacity` values, if there is memory for them: [`Table::has_memory`] tells.
        #[must_use]
        pub fn with_capacity(capacity: usize) -> Self {
            let mut values = Vec::new();
            // More than an index can name is refused by the machine: not worth an allocation that cannot succeed.
            if u32::try_from(capacity).is_ok_and(|capacity| capacity != u32::MAX) {
                // What fails leaves the list as it is, which is what the table is asked about.
                let _ = values.try_reserve_exact(capacity);
            }
            Self { values, capacity }
        }
    }

    impl<T> Table<T> for Boxed<T> {
        fn values(&self) -> &[T] {
            &self.values
        }

        fn values_mut(&mut self) -> &mut [T] {
            &mut self.values
        }

        fn capacity(&self) -> usize {
            self.capacity
        }

        fn has_memory(&self) -> bool {
            self.values.capacity() >= self.capacity
        }

        fn push(&mut self, value: T) -> Result<(), T> {
            if self.values.len() < self.capacity {
                self.values.push(value);
                Ok(())
            } else {
                Err(value)
            }
        }
    }

    /// Storage on the heap, its size chosen at start-up and never changed after.
    #[derive(Clone, Copy, Debug)]
    pub struct Heap {
        /// Records in the pool.
        pub slots: usize,
        /// Lanes that can hold records at the same time.
        pub lanes: usize,
    }

    impl<R, T> Storage<R, T> for Heap {
        type Slots = Boxed<Slot<R, T>>;
        type Lanes = Boxed<LaneRow>;

        fn into_tables(self) -> (Self::Slots, Self::Lanes) {
            (Boxed::with_capacity(self.slots), Boxed::with_capacity(self.lanes))
        }
    }
}
