//! The application's code where its panic would end what is of others: wakers, owners of payloads, callbacks that are dropped,
//! subscribers, recorders, the runtime.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use aioproducer_core::backend::Backend;

use crate::observe;

/// The panics of one producer's application that were contained. Nothing here is called with a lock.
#[derive(Default)]
pub(crate) struct Panics {
    count: AtomicU64,
    /// Whose events tell of them.
    backend: OnceLock<Arc<dyn Backend>>,
}

impl Panics {
    /// Panics are told to the listeners of `backend` from now on.
    pub(crate) fn tell(&self, backend: &Arc<dyn Backend>) {
        self.backend.get_or_init(|| Arc::clone(backend));
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What `code` comes to, which is `name` of the application's; `None` if it panics.
    pub(crate) fn catch<T>(&self, name: &'static str, code: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.note(name, panic);
                None
            }
        }
    }

    #[cold]
    fn note(&self, name: &'static str, panic: Box<dyn Any + Send>) {
        discard(panic);
        self.count.fetch_add(1, Ordering::Relaxed);
        // Whom this is told to is the application's code again.
        let told = catch_unwind(AssertUnwindSafe(|| observe::contained(name)));
        told.unwrap_or_else(discard);
        if let Some(backend) = self.backend.get() {
            backend.panic_caught(name);
        }
    }

    /// Wakes tasks. A waker that panics keeps nobody else from being woken, and no thread of a backend from its work.
    pub(crate) fn wake_all(&self, wakers: impl IntoIterator<Item = Waker>) {
        for waker in wakers {
            self.catch("a waker", || waker.wake());
        }
    }

    /// Drops each of `things` for itself.
    pub(crate) fn drop_all<T>(&self, name: &'static str, things: impl IntoIterator<Item = T>) {
        for thing in things {
            self.catch(name, || drop(thing));
        }
    }
}

/// Drops what a panic carried, which may panic, too.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn s21_a_panic_stays_where_it_is_and_is_counted() {
        struct Worse;
        impl Drop for Worse {
            fn drop(&mut self) {
                panic!("what the panic carries panics, as the test has it");
            }
        }
        let panics = Panics::default();
        assert_eq!(panics.catch("nothing", || 7), Some(7));
        assert_eq!(panics.catch("something", || std::panic::panic_any(Worse)), None::<()>);
        panics.drop_all("something", [(); 3].map(|()| Worse));
        assert_eq!(panics.count(), 4);
    }
}
