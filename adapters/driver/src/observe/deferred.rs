//! Notes that wait for a thread that may call subscribers and recorders.

use crate::runtime::sync::{AtomicBool, Mutex, Ordering, lock};

/// Notes of what a backend reported at once, on a thread of a library. A worker runs next and emits them.
pub(super) struct Deferred<N> {
    /// Whether there are any. It is read at each emission, for which the lock would cost too much.
    any: AtomicBool,
    notes: Mutex<Vec<N>>,
}

impl<N> Default for Deferred<N> {
    fn default() -> Self {
        Self { any: AtomicBool::new(false), notes: Mutex::new(Vec::new()) }
    }
}

impl<N> Deferred<N> {
    pub(super) fn add(&self, notes: N) {
        lock(&self.notes).push(notes);
        self.any.store(true, Ordering::Release);
    }

    #[inline]
    pub(super) fn take(&self) -> Vec<N> {
        if self.any.load(Ordering::Relaxed) { self.take_all() } else { Vec::new() }
    }

    #[cold]
    fn take_all(&self) -> Vec<N> {
        let mut notes = lock(&self.notes);
        self.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut notes)
    }
}
