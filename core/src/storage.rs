//! Where slots and lanes live: memory of the caller's choice, fixed at construction.

/// Memory for up to `capacity` values, filled from the front and never moved.
///
/// Implemented for [`heapless::Vec`], whose capacity is fixed at compile time, and, with the feature `alloc`, for
/// [`Boxed`], whose capacity is chosen at start-up.
pub trait Table<V> {
    /// The values so far.
    fn values(&self) -> &[V];

    /// The values so far.
    fn values_mut(&mut self) -> &mut [V];

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
    fn push(&mut self, value: V) -> Result<(), V>;
}

impl<V, const N: usize> Table<V> for heapless::Vec<V, N> {
    fn values(&self) -> &[V] {
        self
    }

    fn values_mut(&mut self) -> &mut [V] {
        self
    }

    fn capacity(&self) -> usize {
        N
    }

    fn push(&mut self, value: V) -> Result<(), V> {
        heapless::Vec::push(self, value)
    }
}

/// The memory of a [`Producer`](crate::Producer): tables in two sizes.
///
/// A machine takes five tables as large as its pool (slots, own timeouts, and flush points of three kinds) and two as
/// large as its number of lanes. It touches a table's memory only as it fills: own timeouts and flush points take none
/// while no record and no flush needs them.
pub trait Storage {
    /// A table with a place for each record of the pool.
    type Slots<V>: Table<V>;
    /// A table with a place for each lane.
    type Lanes<V>: Table<V>;

    /// An empty table with a place for each record.
    fn slots<V>(&self) -> Self::Slots<V>;

    /// An empty table with a place for each lane.
    fn lanes<V>(&self) -> Self::Lanes<V>;
}

/// Storage inside the machine itself, with no allocator: `SLOTS` records, `LANES` lanes.
///
/// Each slot takes the record, its ticket and some 200 bytes, 140 of them for own timeouts and flush points; each lane
/// takes some 200 bytes.
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

impl<const SLOTS: usize, const LANES: usize> Storage for Inline<SLOTS, LANES> {
    type Slots<V> = heapless::Vec<V, SLOTS>;
    type Lanes<V> = heapless::Vec<V, LANES>;

    fn slots<V>(&self) -> Self::Slots<V> {
        heapless::Vec::new()
    }

    fn lanes<V>(&self) -> Self::Lanes<V> {
        heapless::Vec::new()
    }
}

#[cfg(feature = "alloc")]
pub use heap::{Boxed, Heap};

#[cfg(feature = "alloc")]
mod heap {
    use alloc::vec::Vec;

    use super::{Storage, Table};

    /// One block of memory, taken whole at construction and touched as it fills.
    #[derive(Debug)]
    pub struct Boxed<V> {
        values: Vec<V>,
        capacity: usize,
    }

    impl<V> Boxed<V> {
        /// Room for `capacity` values. [`Table::has_memory`] says whether the memory was available.
        #[must_use]
        pub fn with_capacity(capacity: usize) -> Self {
            let mut values = Vec::new();
            // The machine refuses more than an index can name: not worth an allocation that must fail.
            if u32::try_from(capacity).is_ok_and(|capacity| capacity != u32::MAX) {
                // A failure leaves the list empty, which is what `has_memory` looks at.
                let _ = values.try_reserve_exact(capacity);
            }
            Self { values, capacity }
        }
    }

    impl<V> Table<V> for Boxed<V> {
        fn values(&self) -> &[V] {
            &self.values
        }

        fn values_mut(&mut self) -> &mut [V] {
            &mut self.values
        }

        fn capacity(&self) -> usize {
            self.capacity
        }

        fn has_memory(&self) -> bool {
            self.values.capacity() >= self.capacity
        }

        fn push(&mut self, value: V) -> Result<(), V> {
            if self.values.len() < self.capacity {
                self.values.push(value);
                Ok(())
            } else {
                Err(value)
            }
        }
    }

    /// Storage on the heap. Its size is chosen at start-up and never changes.
    ///
    /// ```
    /// use aioproducer_core::{Heap, Limits, Producer, Record, Lane, TopicId};
    ///
    /// struct Reading(u32);
    /// impl Record for Reading {
    ///     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
    ///     fn size(&self) -> usize { 4 }
    /// }
    ///
    /// let storage = Heap { slots: 10_000, lanes: 100 };
    /// let machine: Producer<Reading, (), Heap> = Producer::new(Limits::default(), storage)?;
    /// assert_eq!(machine.stats().capacity, 10_000);
    /// # Ok::<(), aioproducer_core::LimitsError>(())
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub struct Heap {
        /// Records in the pool.
        pub slots: usize,
        /// Lanes that can hold records at the same time.
        pub lanes: usize,
    }

    impl Storage for Heap {
        type Slots<V> = Boxed<V>;
        type Lanes<V> = Boxed<V>;

        fn slots<V>(&self) -> Boxed<V> {
            Boxed::with_capacity(self.slots)
        }

        fn lanes<V>(&self) -> Boxed<V> {
            Boxed::with_capacity(self.lanes)
        }
    }
}
