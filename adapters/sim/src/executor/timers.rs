//! Timers on a virtual clock.

use std::collections::BTreeMap;
use std::task::Waker;

use aioproducer_core::Instant;

/// The timers that tasks wait for, in the order of their time.
#[derive(Default)]
pub(super) struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    numbers: u64,
}

impl Timers {
    /// A number for a new timer.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Waits; the waker before comes back.
    pub(super) fn wait(&mut self, at: Instant, number: u64, waker: Waker) -> Option<Waker> {
        self.waiting.insert((at, number), waker)
    }

    pub(super) fn remove(&mut self, at: Instant, number: u64) -> Option<Waker> {
        self.waiting.remove(&(at, number))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The time of the next timer.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the timers whose time has come.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let mut expired = Vec::new();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            expired.push(first.remove());
        }
        expired
    }
}
