//! Notes that wait for a thread that may call subscribers and recorders.

use super::Notes;
use crate::runtime::sync::{AtomicBool, Mutex, Ordering, lock};

/// What a backend reported at once, on a thread of a library. A worker follows, which takes it along.
#[derive(Default)]
pub(super) struct Deferred {
    /// Looked at each time that something is noted, which the lock would be too dear for.
    any: AtomicBool,
    notes: Mutex<Vec<Notes>>,
}

impl Deferred {
    pub(super) fn add(&self, notes: Notes) {
        lock(&self.notes).push(notes);
        self.any.store(true, Ordering::Release);
    }

    #[inline]
    pub(super) fn take(&self) -> Vec<Notes> {
        if self.any.load(Ordering::Relaxed) { self.take_all() } else { Vec::new() }
    }

    #[cold]
    fn take_all(&self) -> Vec<Notes> {
        let mut notes = lock(&self.notes);
        self.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut notes)
    }
}
