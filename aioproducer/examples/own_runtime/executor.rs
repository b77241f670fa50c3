//! An executor of one thread with a timer of its own, on nothing but the standard library, and a producer's runtime on it.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time;

use aioproducer::runtime::{Instant, Runtime, Task};

/// Runs what is spawned on it while somebody is in [`Executor::run`], which a panic of a task ends. Dropped, it drops its tasks.
pub(crate) struct Executor(Arc<Shared>);

struct Shared {
    origin: time::Instant,
    state: Mutex<State>,
    /// Something is ready, or a timer comes earlier.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    next: u64,
    /// All tasks that have not come to their end.
    tasks: BTreeMap<u64, Arc<Job>>,
    /// Those that were woken.
    ready: BTreeMap<u64, Arc<Job>>,
    /// Whether what `run` was given was woken.
    main_ready: bool,
    /// Sorted by time; a heap would keep the timers that were dropped until they are due.
    timers: BTreeMap<(Instant, u64), Waker>,
}

/// A task.
struct Job {
    number: u64,
    /// `None` at its end.
    task: Mutex<Option<Task>>,
    executor: Arc<Shared>,
}

impl Executor {
    pub(crate) fn new() -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { origin: time::Instant::now(), state, changed }))
    }

    /// The same executor, as a producer needs it.
    pub(crate) fn runtime(&self) -> OwnRuntime {
        OwnRuntime(Arc::clone(&self.0))
    }

    /// Runs `future` to its end, and all tasks and timers meanwhile.
    pub(crate) fn run<F: Future>(&mut self, future: F) -> F::Output {
        let shared = Arc::clone(&self.0);
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Main(Arc::clone(&shared))));
        shared.lock().main_ready = true;
        loop {
            let (main_ready, ready, due) = shared.wait();
            // Wakers, like tasks, are anybody's code: no lock is held.
            due.into_iter().for_each(Waker::wake);
            if main_ready && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            ready.into_values().for_each(Job::run);
        }
    }
}

/// Tasks own what waits for them, and the producer that a task belongs to would wait for good: it has to hear that its task
/// was dropped.
impl Drop for Executor {
    fn drop(&mut self) {
        let state = {
            let mut state = self.0.lock();
            mem::replace(&mut *state, State { ended: true, ..State::default() })
        };
        for job in state.tasks.values() {
            let task = job.lock().take();
            drop(task);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::after_origin(self.origin.elapsed())
    }

    /// Sleeps until something is ready or due, and takes all of it.
    fn wait(&self) -> (bool, BTreeMap<u64, Arc<Job>>, Vec<Waker>) {
        let mut state = self.lock();
        loop {
            let now = self.now();
            let mut due = Vec::new();
            while let Some(timer) = state.timers.first_entry().filter(|timer| timer.key().0 <= now) {
                due.push(timer.remove());
            }
            if state.main_ready || !state.ready.is_empty() || !due.is_empty() {
                return (mem::take(&mut state.main_ready), mem::take(&mut state.ready), due);
            }
            state = match state.timers.first_key_value() {
                Some((&(at, _), _)) => {
                    self.changed.wait_timeout(state, at - now).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, Option<Task>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        // It is not in its place while it runs, so nothing is locked.
        let Some(mut task) = self.lock().take() else { return };
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *self.lock() = Some(task);
        } else {
            self.executor.lock().tasks.remove(&self.number);
        }
    }
}

/// Called on any thread: of the producer's backend, for one.
impl Wake for Job {
    fn wake(self: Arc<Self>) {
        let executor = Arc::clone(&self.executor);
        let mut state = executor.lock();
        if !state.ended {
            state.ready.insert(self.number, self);
            executor.changed.notify_one();
        }
    }
}

/// What `run` was given.
struct Main(Arc<Shared>);

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        self.0.lock().main_ready = true;
        self.0.changed.notify_one();
    }
}

/// The executor as a producer's runtime: a clock, a timer, and a place for tasks.
#[derive(Clone)]
pub(crate) struct OwnRuntime(Arc<Shared>);

impl Runtime for OwnRuntime {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Task {
        Box::pin(Sleep { executor: Arc::clone(&self.0), at, number: None })
    }

    fn spawn(&self, task: Task) {
        let mut state = self.0.lock();
        if state.ended {
            // Dropped, the task tells its producer, which may call back: not while something is locked.
            drop(state);
            return drop(task);
        }
        let number = state.next;
        state.next += 1;
        let job = Arc::new(Job { number, task: Mutex::new(Some(task)), executor: Arc::clone(&self.0) });
        state.tasks.insert(number, Arc::clone(&job));
        state.ready.insert(number, job);
        self.0.changed.notify_one();
    }
}

/// Ends at a time.
struct Sleep {
    executor: Arc<Shared>,
    at: Instant,
    /// Of its timer, if there is one.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.at {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let executor = Arc::clone(&self.executor);
        let mut state = executor.lock();
        let number = *self.number.get_or_insert_with(|| {
            state.next += 1;
            state.next - 1
        });
        let before = state.timers.insert((self.at, number), waker);
        // It may be polled on another thread than the one that sleeps.
        executor.changed.notify_one();
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.executor.lock().timers.remove(&(self.at, number));
            drop(waker);
        }
    }
}
