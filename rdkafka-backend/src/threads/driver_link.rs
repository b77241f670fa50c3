//! The way to the driver, which is shut once: whoever shuts it says the last word, and who comes later finds nobody.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) struct Gate<E> {
    driver: Mutex<Option<Arc<E>>>,
    shut: Condvar,
}

impl<E> Gate<E> {
    pub(crate) fn new(driver: Arc<E>) -> Self {
        Self { driver: Mutex::new(Some(driver)), shut: Condvar::new() }
    }

    /// The driver, if the last word was not said.
    pub(crate) fn open(&self) -> Option<Arc<E>> {
        self.lock().clone()
    }

    /// The driver, for whoever is to say the last word.
    pub(crate) fn shut(&self) -> Option<Arc<E>> {
        let driver = self.lock().take();
        self.shut.notify_all();
        driver
    }

    /// Waits until somebody has shut it; if nobody has by `due`, it is shut now.
    pub(crate) fn shut_at(&self, due: Instant) -> Option<Arc<E>> {
        let left = due.saturating_duration_since(Instant::now());
        let is_open = |driver: &mut Option<Arc<E>>| driver.is_some();
        let waited = self.shut.wait_timeout_while(self.lock(), left, is_open);
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
    fn one_has_the_last_word_and_whoever_is_late_finds_nobody() {
        let gate = Gate::new(Arc::new(7));
        assert_eq!(gate.open().as_deref(), Some(&7));
        thread::scope(|scope| {
            let late = scope.spawn(|| gate.shut_at(Instant::now() + Duration::from_secs(3600)));
            assert_eq!(gate.shut().as_deref(), Some(&7));
            assert_eq!(late.join().unwrap(), None, "it does not wait for its time");
        });
        assert_eq!((gate.open(), gate.shut(), gate.shut_at(Instant::now())), (None, None, None));
        let gate = Gate::new(Arc::new(8));
        assert_eq!(gate.shut_at(Instant::now()).as_deref(), Some(&8), "nobody was in time");
        assert_eq!(gate.shut(), None);
    }
}
