//! Any number of futures that wait for the same event.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::sync::{Mutex, lock};

#[derive(Default)]
pub(crate) struct Waiters(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    waiting: BTreeMap<u64, Waker>,
    numbers: u64,
}

impl Waiters {
    /// A number for a new future.
    pub(crate) fn number(&self) -> u64 {
        let mut inside = lock(&self.0);
        inside.numbers += 1;
        inside.numbers
    }

    /// The future waits: it looks once more for what it waits for, then it may rely on being woken.
    pub(crate) fn wait(&self, number: u64, waker: &Waker) {
        let waker = waker.clone();
        let before = lock(&self.0).waiting.insert(number, waker);
        drop(before);
    }

    /// The future waits no longer.
    pub(crate) fn leave(&self, number: u64) {
        let waker = lock(&self.0).waiting.remove(&number);
        drop(waker);
    }

    /// Wakes all. No lock may be held.
    pub(crate) fn wake(&self) {
        let waiting = std::mem::take(&mut lock(&self.0).waiting);
        waiting.into_values().for_each(Waker::wake);
    }
}
