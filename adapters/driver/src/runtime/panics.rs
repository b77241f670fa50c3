//! Calls into the application's code whose panic must not end the producer's own work: wakers, owners of payloads, dropped
//! callbacks, subscribers, recorders, the runtime. A panic is caught, counted and reported.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use aioproducer_core::backend::Backend;

/// The caught panics of one producer's application. No method may be called under a lock.
pub(crate) struct Panics {
    count: AtomicU64,
    /// Reports the name of the code that panicked to subscribers.
    report: fn(&'static str),
    /// The backend's events report it, too.
    backend: OnceLock<Arc<dyn Backend>>,
}

impl Panics {
    pub(crate) fn new(report: fn(&'static str)) -> Self {
        Self { count: AtomicU64::new(0), report, backend: OnceLock::new() }
    }

    /// Reports panics to the listeners of `backend`, too, from now on.
    pub(crate) fn set_backend(&self, backend: &Arc<dyn Backend>) {
        self.backend.get_or_init(|| Arc::clone(backend));
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Runs `code`, which is the application's and is reported as `name`. `None` if it panics.
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
        // A subscriber is the application's code, too.
        let reported = catch_unwind(AssertUnwindSafe(|| (self.report)(name)));
        reported.unwrap_or_else(discard);
        if let Some(backend) = self.backend.get() {
            backend.panic_caught(name);
        }
    }

    /// Wakes tasks. When one waker panics, the others are woken all the same.
    pub(crate) fn wake_all(&self, wakers: impl IntoIterator<Item = Waker>) {
        for waker in wakers {
            self.catch("a waker", || waker.wake());
        }
    }

    /// Drops each of `things`; when one panics, the others are dropped all the same.
    pub(crate) fn drop_all<T>(&self, name: &'static str, things: impl IntoIterator<Item = T>) {
        for thing in things {
            self.catch(name, || drop(thing));
        }
    }
}

/// Drops a panic's payload, which may panic as well.
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
                panic!("the panic's payload panics when it is dropped");
            }
        }
        let panics = Panics::new(|_| {});
        assert_eq!(panics.catch("nothing", || 7), Some(7));
        assert_eq!(panics.catch("something", || std::panic::panic_any(Worse)), None::<()>);
        panics.drop_all("something", [(); 3].map(|()| Worse));
        assert_eq!(panics.count(), 4);
    }
}
