//! A run's clock, tasks and randomness, as a scenario holds them.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_driver::Runtime;
use aioproducer_driver::runtime::Task;

use super::joined::{Joined, Place};
use super::run::run;
use super::tasks::{Ready, Tasks};
use super::timers::Timers;
use crate::rng::Rng;
use crate::sync::{Arc, Mutex, lock};

/// How long a run may take in real time.
const WALL_LIMIT: Duration = Duration::from_secs(60);

/// A simulation: an executor of one thread whose clock is virtual. Which of the ready tasks is next is chosen by a seed, so each run
/// with a seed is the same, and runs with other seeds try other orders.
///
/// It is the [`Runtime`] of a producer. The clock stands still while a task is ready, and then leaps to the next timer.
///
/// ```
/// use std::time::Duration;
///
/// use aioproducer_sim::Sim;
///
/// let elapsed = Sim::run(7, |sim| async move {
///     let other = sim.spawn({
///         let sim = sim.clone();
///         async move { sim.sleep(Duration::from_secs(3600)).await }
///     });
///     other.await;
///     sim.elapsed()
/// });
/// assert_eq!(elapsed, Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Sim(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) seed: u64,
    pub(super) ready: Arc<Ready>,
    pub(super) state: Mutex<State>,
    /// The virtual time once more, in nanoseconds.
    pub(super) time: Arc<AtomicU64>,
}

pub(super) struct State {
    pub(super) now: Instant,
    pub(super) timers: Timers,
    pub(super) tasks: Tasks,
    /// For what the scenario draws; the choice of tasks has its own.
    rng: Rng,
}

impl Sim {
    /// Runs a scenario to its end, and returns its result. Tasks that are not done by then are dropped; a producer that was not
    /// closed ends then.
    ///
    /// # Panics
    /// If the scenario or a task panics. If the scenario never ends: no task is ready and no timer is set, or a minute of real time
    /// has passed. If a task was woken by another thread, as then the run could not be repeated.
    #[track_caller]
    pub fn run<T, F: Future<Output = T>>(seed: u64, scenario: impl FnOnce(Self) -> F) -> T {
        Self::run_within(WALL_LIMIT, seed, scenario)
    }

    /// The same with another limit of real time than a minute.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn run_within<T, F: Future<Output = T>>(limit: Duration, seed: u64, scenario: impl FnOnce(Self) -> F) -> T {
        match Self::try_run(limit, seed, scenario) {
            Ok(result) => result,
            Err(reason) => panic!("{reason}"),
        }
    }

    /// The same; the error is why the scenario does not end, or cannot be repeated.
    pub(crate) fn try_run<T, F: Future<Output = T>>(
        limit: Duration,
        seed: u64,
        scenario: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let state = State {
            now: Instant::ZERO,
            timers: Timers::default(),
            tasks: Tasks::default(),
            rng: Rng::new(seed ^ 0x5ce7_a810),
        };
        let sim = Self(Arc::new(Inner {
            seed,
            ready: Arc::new(Ready::new()),
            state: Mutex::new(state),
            time: Arc::default(),
        }));
        run(&sim, limit, scenario(sim.clone()))
    }

    /// Runs `future` concurrently with all else. Its panic is the run's.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Joined<T> {
        let place = Arc::new(Place::default());
        let filled = Arc::clone(&place);
        self.add(Box::pin(async move { filled.fill(future.await) }), Some(Location::caller()));
        Joined(place)
    }

    /// Ends after `duration` of virtual time.
    pub async fn sleep(&self, duration: Duration) {
        let at = self.now() + duration;
        self.sleep_until(at).await;
    }

    /// The virtual time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now().since_origin()
    }

    /// The seed of this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// A number below `bound`, drawn by the seed: for what a scenario varies from seed to seed. 0 if `bound` is 0.
    #[must_use]
    pub fn random(&self, bound: u64) -> u64 {
        lock(&self.0.state).rng.below(bound)
    }

    /// The virtual time in nanoseconds, to be read where the clock must not be called.
    pub(crate) fn time(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.time)
    }

    /// Fails if a task of the test is not done.
    pub(crate) fn refuse_live_tasks(&self) -> Result<(), String> {
        let live = lock(&self.0.state).tasks.of_the_test();
        let Some(first) = live.first() else { return Ok(()) };
        Err(format!(
            "LIVE TASKS: the scenario ended before {} of its tasks, the first of which was spawned at {first}: await them",
            live.len()
        ))
    }

    fn add(&self, task: Task, spawned_at: Option<&'static Location<'static>>) {
        let added = lock(&self.0.state).tasks.add(task, &self.0.ready, spawned_at);
        // A task that comes after the end is dropped here, without the lock.
        if let Ok(task) = added {
            self.0.ready.add(task);
        }
    }
}

/// A producer's runtime. Tasks have no budget: one that never waits never ends, which the limit of real time finds if it returns to
/// the executor.
impl Runtime for Sim {
    fn now(&self) -> Instant {
        lock(&self.0.state).now
    }

    fn sleep_until(&self, at: Instant) -> Task {
        if at == Instant::MAX {
            return Box::pin(std::future::pending());
        }
        let number = lock(&self.0.state).timers.number();
        Box::pin(Sleep { sim: self.clone(), at, number })
    }

    fn spawn(&self, task: Task) {
        self.add(task, None);
    }

    /// Without budgets the driver would count calls for each thread, and a run would depend on those before it.
    fn poll_budget(&self, _cx: &mut Context<'_>) -> Option<Poll<()>> {
        Some(Poll::Ready(()))
    }
}

struct Sleep {
    sim: Sim,
    at: Instant,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (is_over, before) = {
            let mut state = lock(&self.sim.0.state);
            if state.now >= self.at {
                (true, Some(waker))
            } else {
                (false, state.timers.wait(self.at, self.number, waker))
            }
        };
        drop(before);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = lock(&self.sim.0.state).timers.remove(self.at, self.number);
        drop(waker);
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.0.seed).field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}
