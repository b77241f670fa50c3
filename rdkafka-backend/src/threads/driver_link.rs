//! The link to the driver. It is cut once: the thread that cuts it makes the last call to the driver, and others find no driver
//! after that.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(super) struct DriverLink<E> {
    driver: Mutex<Option<Arc<E>>>,
    cut: Condvar,
}

impl<E> DriverLink<E> {
    pub(super) fn new(driver: Arc<E>) -> Self {
        Self { driver: Mutex::new(Some(driver)), cut: Condvar::new() }
    }

    /// The driver, unless the link is cut.
    pub(super) fn driver(&self) -> Option<Arc<E>> {
        self.lock().clone()
    }

    /// Cuts the link. Returns the driver for the last call, unless the link was cut before.
    pub(super) fn cut(&self) -> Option<Arc<E>> {
        let driver = self.lock().take();
        self.cut.notify_all();
        driver
    }

    /// Waits until another thread cuts the link, and cuts it at `due`.
    pub(super) fn cut_at(&self, due: Instant) -> Option<Arc<E>> {
        let left = due.saturating_duration_since(Instant::now());
        let is_linked = |driver: &mut Option<Arc<E>>| driver.is_some();
        let waited = self.cut.wait_timeout_while(self.lock(), left, is_linked);
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<E>>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_thread_cuts_the_link_and_later_ones_find_no_driver() {
        let link = DriverLink::new(Arc::new(7));
        assert_eq!(link.driver().as_deref(), Some(&7));
        thread::scope(|scope| {
            let late = scope.spawn(|| link.cut_at(Instant::now() + Duration::from_secs(3600)));
            assert_eq!(link.cut().as_deref(), Some(&7));
            assert_eq!(late.join().unwrap(), None, "it does not wait for its time");
        });
        assert_eq!((link.driver(), link.cut(), link.cut_at(Instant::now())), (None, None, None));
        let link = DriverLink::new(Arc::new(8));
        assert_eq!(link.cut_at(Instant::now()).as_deref(), Some(&8), "no thread was in time");
        assert_eq!(link.cut(), None);
    }
}
