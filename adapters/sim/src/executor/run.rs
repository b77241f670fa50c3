//! A run from its begin to its end.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{self, Duration};

use super::sim::Sim;
use super::tasks::{SCENARIO, Waiting, waker};
use crate::rng::Rng;
use crate::sync::lock;

/// Polls between two looks at the real clock.
const POLLS_PER_LOOK: u64 = 1024;

/// Ends the run: drops the tasks, also after a panic.
struct End<'a>(&'a Sim);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // A task's drop may spawn others, which are refused then, and may wake some, which are not polled.
        let tasks = lock(&self.0.0.state).tasks.close();
        drop(tasks);
    }
}

/// Polls the scenario and its tasks until the scenario is done. The error says why it never is.
pub(super) fn run<T>(sim: &Sim, wall_limit: Duration, scenario: impl Future<Output = T>) -> Result<T, String> {
    let end = End(sim);
    let mut scenario = pin!(scenario);
    let ready = &sim.0.ready;
    let own = waker(SCENARIO, ready);
    let (mut rng, mut polls) = (Rng::new(sim.0.seed), 0);
    let begin = time::Instant::now();
    ready.add(SCENARIO);
    let outcome = loop {
        let Some(task) = ready.choose(&mut rng) else {
            match leap(sim) {
                Ok(()) => continue,
                Err(reason) => break Err(reason),
            }
        };
        let mut result = Poll::Pending;
        if task == SCENARIO {
            result = scenario.as_mut().poll(&mut Context::from_waker(&own));
        } else {
            poll(sim, task);
        }
        // Also of a run that is over: its result may depend on the other thread.
        if ready.is_foreign() {
            break Err(foreign(sim));
        }
        if let Poll::Ready(result) = result {
            break Ok(result);
        }
        polls += 1;
        if polls % POLLS_PER_LOOK == 0 && begin.elapsed() >= wall_limit {
            break Err(spins(sim, polls, wall_limit));
        }
    };
    drop(end);
    outcome
}

/// Polls a task, which may have ended.
fn poll(sim: &Sim, task: u64) {
    // Taken out: it may spawn others, or ask for the time.
    let taken = lock(&sim.0.state).tasks.take(task);
    let Some(Waiting { mut future, waker, spawned_at }) = taken else { return };
    if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        lock(&sim.0.state).tasks.put(task, Waiting { future, waker, spawned_at });
    }
}

/// Moves the clock to the next timer.
fn leap(sim: &Sim) -> Result<(), String> {
    let expired = {
        let mut state = lock(&sim.0.state);
        let Some(at) = state.timers.next() else {
            drop(state);
            return Err(never_ends(sim));
        };
        state.now = state.now.max(at);
        let now = state.now;
        sim.0.time.store(now.as_nanos(), Ordering::Relaxed);
        state.timers.expire(now)
    };
    expired.into_iter().for_each(|waker| waker.wake());
    Ok(())
}

fn never_ends(sim: &Sim) -> String {
    format!(
        "seed {}: the scenario never ends: after {:?} of virtual time no task is ready and no timer is set, so it waits for what \
         cannot come{}",
        sim.seed(),
        sim.elapsed(),
        others(sim)
    )
}

fn spins(sim: &Sim, polls: u64, limit: Duration) -> String {
    let timers = lock(&sim.0.state).timers.len();
    format!(
        "seed {}: the scenario did not end within {limit:?} of real time: after {polls} polls it is at {:?} of virtual time, and \
         {timers} timers are set. If the virtual time stands still, a task wakes itself in a loop; if not, something repeats for ever{}",
        sim.seed(),
        sim.elapsed(),
        others(sim)
    )
}

fn foreign(sim: &Sim) -> String {
    format!(
        "seed {}: a task was woken by another thread at {:?} of virtual time, so this run cannot be repeated: start no thread in a \
         simulation, and use no I/O and no timer of another runtime",
        sim.seed(),
        sim.elapsed()
    )
}

/// The test's own tasks that are not done.
fn others(sim: &Sim) -> String {
    let places = lock(&sim.0.state).tasks.of_the_test();
    if places.is_empty() {
        return String::new();
    }
    let places: Vec<_> = places.into_iter().map(ToString::to_string).collect();
    format!("; tasks that are not done were spawned at {}", places.join(", "))
}
