//! Locks and atomics: std's, or loom's when a test explores interleavings. No other file names either.

#[allow(unused_imports, reason = "one list for all files")]
pub(crate) use std::sync::{Arc, RwLock};

#[cfg(not(interleave))]
#[allow(unused_imports, reason = "one list for all files")]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(interleave)]
#[allow(unused_imports, reason = "one list for all files")]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use std::sync::PoisonError;

/// Locks `mutex`. A panic elsewhere does not spread: what the lock guards is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
