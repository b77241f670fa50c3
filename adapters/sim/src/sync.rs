//! Locks. Each is held for a few statements, never across an `await`, a wake, or a call into the producer.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, Weak};

use std::sync::PoisonError;

/// Locks `mutex`. After a panic elsewhere what it guards is still consistent.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
