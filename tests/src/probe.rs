//! Looking at single polls, wake-ups and threads.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::coop::unconstrained;

/// Polls once, without a waker.
pub fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of `future` at its first poll, or at its second if the first only yielded.
///
/// # Panics
/// When it does not.
pub fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = Observed::new(future);
    match future.poll_in_turn() {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready at its first poll"),
    }
}

/// A future that is polled by hand and whose wake-ups are counted.
#[derive(Debug)]
pub struct Observed<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Observed<F> {
    /// Wraps `future` without polling it.
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// Polls once, outside of tokio's budget: polling by hand does not return to tokio.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        pin!(unconstrained(self.future.as_mut())).poll(&mut Context::from_waker(&waker))
    }

    /// Polls once and says whether it is still pending.
    pub fn is_pending(&mut self) -> bool {
        self.poll().is_pending()
    }

    /// Polls once, and once more if the first poll only yielded.
    pub fn poll_in_turn(&mut self) -> Poll<F::Output> {
        let wakes = self.wakes();
        match self.poll() {
            Poll::Pending if self.wakes() > wakes => self.poll(),
            polled => polled,
        }
    }

    /// How often it was woken.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// Its output, which is there.
    ///
    /// # Panics
    /// When it is still pending.
    pub fn ready(mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is still pending"),
        }
    }

    /// The future itself, to be awaited.
    #[must_use]
    pub fn into_future(self) -> Pin<Box<F>> {
        self.future
    }
}

/// The names of this process's threads that start with one of `prefixes`; none where there is no `/proc`.
#[must_use]
pub fn threads(prefixes: &[&str]) -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).filter(|name| prefixes.iter().any(|p| name.starts_with(p))).collect()
}

/// Blocks the thread until `condition` holds. The watchdog ends the test if it never does.
pub fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
