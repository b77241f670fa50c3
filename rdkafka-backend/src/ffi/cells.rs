//! Where records stay while librdkafka borrows their memory: one cell per slot of the pool.
//!
//! A cell's tag says which thread may access its record. `VACANT`: there is no record. The bits of a slot: the holder of that
//! slot's message, which is first the worker that put the record in, then librdkafka, then the thread that reads the delivery
//! report. `BUSY`: the thread that moves the record in or out. So a stale or duplicate report finds a tag other than its own.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aioproducer_core::SlotId;
use aioproducer_core::backend::Message;

use super::raw_report::PLACED;
use crate::catch_panic::catch_panic;

/// Cells are allocated in chunks, when a slot of the chunk is used for the first time: a large pool costs nothing up front.
const CHUNK: usize = 1024;

/// No slot has these bits: its index is below the capacity, which is below both.
const VACANT: u64 = u64::MAX;
const BUSY: u64 = u64::MAX - 1;

struct Cell<R> {
    tag: AtomicU64,
    record: UnsafeCell<MaybeUninit<R>>,
}

type Chunk<R> = Box<[Cell<R>]>;

pub(crate) struct Cells<R> {
    chunks: Box<[OnceLock<Chunk<R>>]>,
    capacity: usize,
}

// SAFETY: only the one thread that the tag permits accesses a record, so sharing the table means sending records between
// threads. Two threads see one record at the same time only in `duplicates` and `Lent`, which require records that are `Sync`.
unsafe impl<R: Send> Sync for Cells<R> {}

impl<R> Cells<R> {
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(PLACED as usize);
        let chunks = (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Self { chunks, capacity }
    }

    /// Moves a record in, or returns it if the slot does not exist or is in use.
    pub(super) fn put(&self, slot: SlotId, record: R) -> Result<&R, R> {
        if slot.index() >= self.capacity {
            return Err(record);
        }
        let chunk = self.chunks[slot.index() / CHUNK].get_or_init(|| {
            let vacant = || Cell { tag: AtomicU64::new(VACANT), record: UnsafeCell::new(MaybeUninit::uninit()) };
            (0..CHUNK).map(|_| vacant()).collect()
        });
        let cell = &chunk[slot.index() % CHUNK];
        if cell.tag.compare_exchange(VACANT, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(record);
        }
        // SAFETY: we changed the tag from VACANT to BUSY, so no other thread accesses the record.
        let place = unsafe { &mut *cell.record.get() };
        let record = &*place.write(record);
        cell.tag.store(slot.to_bits(), Ordering::Release);
        Ok(record)
    }

    /// The record of `slot`.
    ///
    /// # Safety
    /// The caller has put the record in, and has neither passed it to librdkafka nor taken it out.
    pub(super) unsafe fn get(&self, slot: SlotId) -> Option<&R> {
        let cell = self.cell(slot)?;
        // SAFETY: by this function's contract the record is there, and no other thread moves it.
        let place = unsafe { &*cell.record.get() };
        // SAFETY: as above, it was written by `put`.
        Some(unsafe { place.assume_init_ref() })
    }

    /// Moves the record of `slot` out; `None` if it is not there (any more).
    ///
    /// # Safety
    /// Neither librdkafka nor another thread uses the record's memory any more.
    pub(super) unsafe fn take(&self, slot: SlotId) -> Option<R> {
        self.claim(slot, |place| {
            // SAFETY: the tag had this slot's bits, so `put` wrote a record that was not taken since.
            unsafe { place.assume_init_read() }
        })
    }

    /// Copies of the records in the cells, as far as records can be copied. They are for the case that librdkafka may still read
    /// the records: copies share that memory, and the records stay where they are.
    pub(crate) fn duplicates(&self) -> Vec<(SlotId, R)>
    where
        R: Message + Sync,
    {
        let cells = self.chunks.iter().filter_map(OnceLock::get).flat_map(|chunk| chunk.iter());
        let duplicate = |cell: &Cell<R>| {
            let tag = cell.tag.load(Ordering::Acquire);
            if tag == VACANT || tag == BUSY {
                return None;
            }
            cell.tag.compare_exchange(tag, BUSY, Ordering::Acquire, Ordering::Relaxed).ok()?;
            // SAFETY: we changed the tag from a slot's bits to BUSY, so no other thread moves or changes the record.
            let place = unsafe { &*cell.record.get() };
            // SAFETY: as above, and `put` wrote it.
            let record = unsafe { place.assume_init_ref() };
            let copy = catch_panic(|| record.duplicate()).flatten();
            cell.tag.store(tag, Ordering::Release);
            Some((SlotId::from_bits(tag), copy?))
        };
        cells.filter_map(duplicate).collect()
    }

    /// The records that are still in the cells, when librdkafka does not borrow from them any more.
    pub(crate) fn into_records(mut self) -> impl Iterator<Item = (SlotId, R)> {
        let chunks = std::mem::take(&mut self.chunks);
        chunks.into_iter().filter_map(OnceLock::into_inner).flat_map(<[_]>::into_vec).filter_map(|mut cell| {
            let tag = std::mem::replace(cell.tag.get_mut(), VACANT);
            if tag == VACANT || tag == BUSY {
                return None;
            }
            let place = std::mem::replace(cell.record.get_mut(), MaybeUninit::uninit());
            // SAFETY: the tag had a slot's bits, so the record is there.
            Some((SlotId::from_bits(tag), unsafe { place.assume_init() }))
        })
    }

    fn cell(&self, slot: SlotId) -> Option<&Cell<R>> {
        self.chunks.get(slot.index() / CHUNK)?.get()?.get(slot.index() % CHUNK)
    }

    fn claim<T>(&self, slot: SlotId, use_record: impl FnOnce(&mut MaybeUninit<R>) -> T) -> Option<T> {
        let cell = self.cell(slot)?;
        cell.tag.compare_exchange(slot.to_bits(), BUSY, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: we changed the tag from the slot's bits to BUSY, so no other thread accesses the record.
        let answer = use_record(unsafe { &mut *cell.record.get() });
        cell.tag.store(VACANT, Ordering::Release);
        Some(answer)
    }
}

/// The records that librdkafka borrows, without their type.
pub(crate) trait Lent: Send + Sync {
    /// The payload of the record of `slot`; `None` if the record is not here, or is being copied.
    ///
    /// # Safety
    /// librdkafka has the message of that slot, and does not report it before the last use of the returned slice.
    unsafe fn payload(&self, slot: SlotId) -> Option<Option<&[u8]>>;
}

impl<R: Message> Lent for Cells<R> {
    unsafe fn payload(&self, slot: SlotId) -> Option<Option<&[u8]>> {
        let cell = self.cell(slot)?;
        if cell.tag.load(Ordering::Acquire) != slot.to_bits() {
            return None;
        }
        // SAFETY: the tag has the slot's bits, so the record was put in. It is taken out only after its report, and by this
        // function's contract there is none. So there are only shared references to it.
        let place = unsafe { &*cell.record.get() };
        // SAFETY: as above.
        Some(unsafe { place.assume_init_ref() }.payload())
    }
}

impl<R> Drop for Cell<R> {
    fn drop(&mut self) {
        let tag = *self.tag.get_mut();
        if tag != VACANT && tag != BUSY {
            // SAFETY: the tag has a slot's bits, so the record is there.
            unsafe { self.record.get_mut().assume_init_drop() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn take<R>(cells: &Cells<R>, slot: SlotId) -> Option<R> {
        // SAFETY: nothing in these tests borrows a record's memory.
        unsafe { cells.take(slot) }
    }

    #[test]
    fn a_record_comes_out_once_and_only_by_its_own_generation() {
        let cells = Cells::new(3000);
        let slot = SlotId::new(2999, 7);
        assert_eq!(cells.put(slot, "a"), Ok(&"a"));
        assert_eq!(cells.put(SlotId::new(2999, 8), "b"), Err("b"), "the slot is in use");
        assert_eq!(cells.put(SlotId::new(3000, 0), "c"), Err("c"), "no such slot");
        assert_eq!(take(&cells, SlotId::new(2999, 6)), None);
        assert_eq!(take(&cells, SlotId::new(1, 7)), None);
        assert_eq!(take(&cells, slot), Some("a"));
        assert_eq!(take(&cells, slot), None);
    }

    #[cfg(feature = "embedded-broker")]
    #[test]
    fn s25_a_borrowed_record_is_copied_and_stays() {
        use crate::common::Rec;

        let cells = Cells::new(3000);
        let slots = [SlotId::new(1, 7), SlotId::new(2, 1), SlotId::new(2999, 3)];
        for (slot, id) in slots.into_iter().zip(0..) {
            assert!(cells.put(slot, Rec::new(id)).is_ok());
        }
        assert_eq!(take(&cells, slots[1]), Some(Rec::new(1)));
        let copies = || vec![(slots[0], Rec::new(0)), (slots[2], Rec::new(2))];
        assert_eq!(cells.duplicates(), copies());
        assert_eq!(cells.duplicates(), copies(), "they are still there");
        assert_eq!(take(&cells, slots[0]), Some(Rec::new(0)));
        assert_eq!(cells.into_records().collect::<Vec<_>>(), [(slots[2], Rec::new(2))]);
    }

    #[test]
    fn a_remaining_record_is_dropped_or_given_back_once() {
        let witness = Arc::new(());
        let cells = Cells::new(10);
        for index in 0..4 {
            assert!(cells.put(SlotId::new(index, 1), witness.clone()).is_ok());
        }
        // SAFETY: nothing borrows a record's memory here.
        assert!(unsafe { cells.take(SlotId::new(0, 1)) }.is_some());
        assert_eq!(Arc::strong_count(&witness), 4);
        let mut left = cells.into_records();
        assert_eq!(left.next().map(|(slot, _)| slot), Some(SlotId::new(1, 1)));
        drop(left);
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}
