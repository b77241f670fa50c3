//! Wakes one task, and remembers that it did while the task was not waiting.

use std::task::Waker;

use crate::sync::{Mutex, lock};

#[derive(Default)]
pub(crate) struct Signal(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    is_set: bool,
    waker: Option<Waker>,
}

impl Signal {
    /// Sets the signal and wakes the task that waits for it. No lock may be held.
    pub(crate) fn set(&self) {
        let waker = {
            let mut inside = lock(&self.0);
            inside.is_set = true;
            inside.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the signal if it is set; if not, wakes `waker` when it is.
    pub(crate) fn take(&self, waker: &Waker) -> bool {
        let own = waker.clone();
        let (was_set, before) = {
            let mut inside = lock(&self.0);
            let was_set = std::mem::take(&mut inside.is_set);
            (was_set, if was_set { Some(own) } else { inside.waker.replace(own) })
        };
        drop(before);
        was_set
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::sync::Arc;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_signal_is_kept_until_it_is_taken_and_wakes_once() {
        let (signal, count) = (Signal::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        signal.set();
        assert!(signal.take(&waker));
        assert!(!signal.take(&waker));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        signal.set();
        signal.set();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(signal.take(&waker));
    }
}
