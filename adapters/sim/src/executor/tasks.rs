//! The tasks of a run, and the list of those that are ready.

use std::collections::BTreeMap;
use std::panic::Location;
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

use aioproducer_driver::runtime::Task;

use crate::rng::Rng;
use crate::sync::{Arc, Mutex, lock};

/// The number of the scenario itself, which is polled like a task.
pub(super) const SCENARIO: u64 = 0;

/// The tasks that are ready, each once, in the order in which they became ready.
pub(super) struct Ready {
    list: Mutex<List>,
    thread: ThreadId,
}

#[derive(Default)]
struct List {
    ready: Vec<u64>,
    /// A waker was called on another thread: the run cannot be repeated.
    is_foreign: bool,
}

impl Ready {
    pub(super) fn new() -> Self {
        Self { list: Mutex::default(), thread: thread::current().id() }
    }

    pub(super) fn add(&self, task: u64) {
        let is_foreign = thread::current().id() != self.thread;
        let mut list = lock(&self.list);
        list.is_foreign |= is_foreign;
        if !list.ready.contains(&task) {
            list.ready.push(task);
        }
    }

    /// Takes one of the ready tasks, which the seed chooses.
    pub(super) fn choose(&self, rng: &mut Rng) -> Option<u64> {
        let mut list = lock(&self.list);
        if list.ready.is_empty() {
            return None;
        }
        let chosen = rng.below(list.ready.len() as u64) as usize;
        Some(list.ready.swap_remove(chosen))
    }

    pub(super) fn is_foreign(&self) -> bool {
        lock(&self.list).is_foreign
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.add(self.task);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.add(self.task);
    }
}

/// A task that is not being polled.
pub(super) struct Waiting {
    pub(super) future: Task,
    pub(super) waker: Waker,
    /// Where the test spawned it; `None` for a producer's own tasks.
    pub(super) spawned_at: Option<&'static Location<'static>>,
}

#[derive(Default)]
pub(super) struct Tasks {
    waiting: BTreeMap<u64, Waiting>,
    numbers: u64,
    /// The run is over: new tasks are dropped.
    is_closed: bool,
}

/// A waker for the task with that number.
pub(super) fn waker(task: u64, ready: &Arc<Ready>) -> Waker {
    Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(ready) }))
}

impl Tasks {
    /// Adds a task, and returns its number; gives it back after the run's end.
    pub(super) fn add(
        &mut self,
        future: Task,
        ready: &Arc<Ready>,
        spawned_at: Option<&'static Location<'static>>,
    ) -> Result<u64, Task> {
        if self.is_closed {
            return Err(future);
        }
        self.numbers += 1;
        let task = self.numbers;
        self.waiting.insert(task, Waiting { future, waker: waker(task, ready), spawned_at });
        Ok(task)
    }

    pub(super) fn take(&mut self, task: u64) -> Option<Waiting> {
        self.waiting.remove(&task)
    }

    /// Puts a task back that is not done; gives it back after the run's end.
    pub(super) fn put(&mut self, task: u64, waiting: Waiting) {
        self.waiting.insert(task, waiting);
    }

    /// Where the test spawned tasks that are not done.
    pub(super) fn of_the_test(&self) -> Vec<&'static Location<'static>> {
        self.waiting.values().filter_map(|waiting| waiting.spawned_at).collect()
    }

    /// Ends: takes all tasks, in the order in which they were spawned.
    pub(super) fn close(&mut self) -> Vec<Waiting> {
        self.is_closed = true;
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}
