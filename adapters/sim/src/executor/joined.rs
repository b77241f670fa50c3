//! The result of a task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::sync::{Arc, Mutex, lock};

/// Waits for a task of [`Sim::spawn`](crate::Sim::spawn), and has its result. If it is dropped, the task goes on.
///
/// ```
/// # use aioproducer_sim::Sim;
/// let sum = Sim::run(7, |sim| async move {
///     let (one, two) = (sim.spawn(async { 1 }), sim.spawn(async { 2 }));
///     one.await + two.await
/// });
/// assert_eq!(sum, 3);
/// ```
pub struct Joined<T>(pub(super) Arc<Place<T>>);

/// Where a task leaves its result.
pub(super) struct Place<T>(Mutex<Inside<T>>);

struct Inside<T> {
    result: Option<T>,
    waker: Option<Waker>,
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self(Mutex::new(Inside { result: None, waker: None }))
    }
}

impl<T> Place<T> {
    pub(super) fn fill(&self, result: T) {
        let waker = {
            let mut inside = lock(&self.0);
            inside.result = Some(result);
            inside.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Joined<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let own = cx.waker().clone();
        let (result, before) = {
            let mut inside = lock(&self.0.0);
            match inside.result.take() {
                Some(result) => (Poll::Ready(result), Some(own)),
                None => (Poll::Pending, inside.waker.replace(own)),
            }
        };
        drop(before);
        result
    }
}

impl<T> fmt::Debug for Joined<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").finish_non_exhaustive()
    }
}
