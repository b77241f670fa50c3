//! Outcomes whose callbacks are to run, in lines, and the runners that run them.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::Delivered;

use super::Key;
use super::pool::CallbackRef;
use super::waits::Waits;
use crate::observe::RecordSpan;
use crate::outcome::error::DeliveryError;

/// Callbacks that a runner takes at once.
const CHUNK: usize = 64;

/// Lines that are kept when they are empty, for their memory,
const LINES: usize = 128;

/// and what they have room for then. More is a burst's, and would be kept for good.
const KEPT: usize = 512;

/// A callback whose turn comes.
pub(crate) struct Ended {
    pub(crate) callback: CallbackRef,
    /// Its line.
    pub(crate) key: Key,
    pub(crate) outcome: Result<Delivered, DeliveryError>,
    /// The record's span.
    pub(crate) trace: RecordSpan,
}

/// What is to be done, without a lock.
#[derive(Default)]
pub(crate) enum RunnerSignal {
    #[default]
    None,
    Wake(Waker),
    /// A runner with this number is to be started.
    Spawn(usize),
}

/// Counts since the start, and what there is now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) waiting: usize,
    pub(crate) panicked: u64,
    pub(crate) stalled: u64,
}

/// What a runner works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line(Key);

#[derive(Default)]
struct Waiting {
    ended: VecDeque<Ended>,
    /// A runner works on it, or it is in the list of lines that are ready.
    engaged: bool,
    /// What a runner has taken of it.
    taken: usize,
}

enum Runner {
    /// It has ended, since there was nothing to come.
    Gone,
    /// Woken or started, on its way to its next line.
    Seeking,
    Parked(Waker),
    Busy {
        since: Instant,
        /// It was counted as stalled.
        told: bool,
    },
}

pub(super) struct Queue {
    lines: HashMap<Key, Waiting>,
    /// Lines with something to do that no runner has.
    ready: VecDeque<Key>,
    runners: Vec<Runner>,
    most_runners: usize,
    counts: Counts,
    /// When the driver looks for runners that stall.
    watched_at: Instant,
    /// The runtime is gone.
    halted: bool,
    /// Somebody waits until there is nothing to do.
    tells: bool,
    /// Who waits for some of the callbacks.
    pub(super) waits: Waits,
}

impl Queue {
    pub(super) fn new(most_runners: usize) -> Self {
        Self {
            lines: HashMap::new(),
            ready: VecDeque::new(),
            runners: Vec::new(),
            most_runners,
            counts: Counts::default(),
            watched_at: Instant::MAX,
            halted: false,
            tells: false,
            waits: Waits::default(),
        }
    }

    /// Takes what has ended, unless there is no runtime any more.
    pub(super) fn push(&mut self, ended: &mut Vec<Ended>) -> RunnerSignal {
        if self.halted {
            return RunnerSignal::None;
        }
        self.counts.waiting += ended.len();
        let mut ended = ended.drain(..).peekable();
        while let Some(first) = ended.next() {
            let key = first.key;
            let line = self.lines.entry(key).or_default();
            line.ended.push_back(first);
            while let Some(next) = ended.next_if(|next| next.key == key) {
                line.ended.push_back(next);
            }
            if !std::mem::replace(&mut line.engaged, true) {
                self.ready.push_back(key);
            }
        }
        self.call()
    }

    /// Sees to it that a runner is on its way while a line is ready.
    fn call(&mut self) -> RunnerSignal {
        if self.ready.is_empty() || self.runners.iter().any(|runner| matches!(runner, Runner::Seeking)) {
            return RunnerSignal::None;
        }
        for (number, runner) in self.runners.iter_mut().enumerate() {
            if matches!(runner, Runner::Parked(_) | Runner::Gone) {
                return match std::mem::replace(runner, Runner::Seeking) {
                    Runner::Parked(waker) => RunnerSignal::Wake(waker),
                    _ => RunnerSignal::Spawn(number),
                };
            }
        }
        if self.runners.len() >= self.most_runners {
            return RunnerSignal::None;
        }
        self.runners.push(Runner::Seeking);
        RunnerSignal::Spawn(self.runners.len() - 1)
    }

    /// What runner `number` does next: some of a line, in `chunk`. With no line it is parked.
    pub(super) fn next(
        &mut self,
        number: usize,
        before: Option<Line>,
        chunk: &mut VecDeque<Ended>,
        now: Instant,
        waker: &Waker,
        wakers: &mut Vec<Waker>,
    ) -> (Option<Line>, RunnerSignal) {
        if let Some(Line(key)) = before
            && let Some(line) = self.lines.get_mut(&key)
        {
            let ran = std::mem::take(&mut line.taken);
            if !self.waits.is_empty() {
                self.waits.ran(key, ran, wakers);
            }
            line.engaged = !line.ended.is_empty();
            if line.engaged {
                self.ready.push_back(key);
            } else {
                if line.ended.capacity() > KEPT {
                    line.ended.shrink_to(KEPT);
                }
                if self.lines.len() > LINES {
                    self.lines.remove(&key);
                }
            }
        }
        let next = self.ready.pop_front();
        let runner = match next {
            Some(_) => Runner::Busy { since: now, told: false },
            None => Runner::Parked(waker.clone()),
        };
        self.runners[number] = runner;
        if let Some(line) = next.and_then(|key| self.lines.get_mut(&key)) {
            let count = CHUNK.min(line.ended.len());
            line.taken = count;
            chunk.extend(line.ended.drain(..count));
        }
        (next.map(Line), self.call())
    }

    /// One callback of a line has come to its end, and more of what was taken with it may take a while.
    pub(super) fn one_ran(&mut self, Line(key): &Line, wakers: &mut Vec<Waker>) {
        if let Some(line) = self.lines.get_mut(key)
            && line.taken > 0
        {
            line.taken -= 1;
            self.waits.ran(*key, 1, wakers);
        }
    }

    /// The callbacks of each line that have not come to their end.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = (Key, usize)> {
        self.lines.iter().map(|(key, line)| (*key, line.ended.len() + line.taken))
    }

    /// Callbacks have run.
    pub(super) fn done(&mut self, count: usize, panicked: u64) {
        self.counts.waiting = self.counts.waiting.saturating_sub(count);
        self.counts.panicked += panicked;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.counts.waiting == 0 || self.halted
    }

    pub(super) fn is_idle_or_tells(&mut self) -> bool {
        let idle = self.is_idle();
        self.tells = !idle;
        idle
    }

    /// Whether somebody is to be told that there is nothing to do (any more).
    pub(super) fn has_to_tell(&mut self) -> bool {
        self.is_idle() && std::mem::take(&mut self.tells)
    }

    /// Whether the driver has to look for stalls earlier than it would.
    pub(super) fn is_to_be_watched(&mut self, now: Instant, patience: Duration) -> bool {
        let earlier = now + patience < self.watched_at;
        if earlier {
            self.watched_at = now + patience;
        }
        earlier
    }

    pub(super) fn watch(&mut self, now: Instant, patience: Duration) -> Instant {
        let mut next = Instant::MAX;
        for runner in &mut self.runners {
            match runner {
                Runner::Busy { since, told } if !*told && *since + patience <= now => {
                    *told = true;
                    self.counts.stalled += 1;
                }
                Runner::Busy { since, told: false } => next = next.min(*since + patience),
                Runner::Busy { .. } | Runner::Seeking | Runner::Parked(_) | Runner::Gone => {}
            }
        }
        self.watched_at = next;
        next
    }

    /// Whether a runner may end, when nothing more is to come; then the others that have nothing to do are to be woken, so
    /// that they end, too.
    pub(super) fn leave(&mut self, number: usize, wakers: &mut Vec<Waker>) -> bool {
        let idle = self.is_idle();
        if idle {
            self.runners[number] = Runner::Gone;
            self.wake_parked(wakers);
        }
        idle
    }

    pub(super) fn wake_parked(&mut self, wakers: &mut Vec<Waker>) {
        for runner in &mut self.runners {
            if let Runner::Parked(waker) = runner {
                wakers.push(waker.clone());
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes nothing more; returns what nobody will call.
    pub(super) fn halt(&mut self, wakers: &mut Vec<Waker>) -> impl Iterator<Item = Ended> + use<> {
        self.halted = true;
        self.waits.end(wakers);
        self.ready.clear();
        self.counts.waiting = 0;
        std::mem::take(&mut self.lines).into_values().flat_map(|line| line.ended)
    }
}
