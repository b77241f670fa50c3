//! Blocking work in a future, on any runtime.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::Builder;

/// Runs `work` on a thread of its own, to its end even if the future is dropped. `None` if it panicked.
pub(super) async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let slot = Arc::new(Slot(Mutex::new(State { outcome: None, ended: false, waker: None })));
    let end = End(Arc::clone(&slot));
    Builder::new().name("aioproducer-read".into()).spawn(move || {
        let outcome = work();
        end.0.lock().outcome = Some(outcome);
    })?;
    let outcome = poll_fn(|cx| {
        let mut waker = Some(cx.waker().clone());
        let previous;
        {
            let mut state = slot.lock();
            if state.ended {
                return Poll::Ready(state.outcome.take());
            }
            previous = std::mem::replace(&mut state.waker, waker.take());
        }
        drop(previous);
        Poll::Pending
    });
    Ok(outcome.await)
}

struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    outcome: Option<T>,
    ended: bool,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the thread, also by a panic.
struct End<T>(Arc<Slot<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.ended = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
