//! The link to the driver. It is cut once: the thread that cuts it makes the last call to the driver, and others find no driver
//! after that.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct DriverLink<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    driver: Option<Arc<E>>,
    /// When it is cut in any case, once that is known.
    due: Option<Instant>,
}

impl<E> DriverLink<E> {
    pub(super) fn new(driver: Arc<E>) -> Self {
        Self { state: Mutex::new(State { driver: Some(driver), due: None }), changed: Condvar::new() }
    }

    /// The driver, unless the link is cut.
    pub(super) fn driver(&self) -> Option<Arc<E>> {
        self.lock().driver.clone()
    }

    /// Cuts the link. Returns the driver for the last call, unless the link was cut before.
    pub(super) fn cut(&self) -> Option<Arc<E>> {
        let driver = self.lock().driver.take();
        self.changed.notify_all();
        driver
    }

    /// It is cut at `due`, or before if an earlier time was set.
    pub(super) fn set_due(&self, due: Instant) {
        let mut state = self.lock();
        state.due = Some(state.due.map_or(due, |before| before.min(due)));
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until another thread cuts the link, or cuts it when it is due.
    pub(super) fn cut_when_due(&self) -> Option<Arc<E>> {
        let mut state = self.lock();
        while state.driver.is_some() {
            let left = state.due.map(|due| due.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.driver.take()
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn one_thread_cuts_the_link_and_later_ones_find_no_driver() {
        let link = DriverLink::new(Arc::new(7));
        assert_eq!(link.driver().as_deref(), Some(&7));
        link.set_due(Instant::now() + LONG);
        thread::scope(|scope| {
            let late = scope.spawn(|| link.cut_when_due());
            assert_eq!(link.cut().as_deref(), Some(&7));
            assert_eq!(late.join().unwrap(), None, "it does not wait for its time");
        });
        assert_eq!((link.driver(), link.cut(), link.cut_when_due()), (None, None, None));
        let link = DriverLink::new(Arc::new(8));
        link.set_due(Instant::now());
        assert_eq!(link.cut_when_due().as_deref(), Some(&8), "no thread was in time");
        assert_eq!(link.cut(), None);
    }

    #[test]
    fn an_earlier_time_counts_also_while_a_thread_waits() {
        let link = DriverLink::new(Arc::new(9));
        link.set_due(Instant::now() + LONG);
        thread::scope(|scope| {
            let waits = scope.spawn(|| link.cut_when_due());
            link.set_due(Instant::now());
            link.set_due(Instant::now() + LONG);
            assert_eq!(waits.join().unwrap().as_deref(), Some(&9));
        });
    }
}
