//! Outcomes whose callbacks are to run, in lines, and the runners that run them.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::Delivered;

use super::waits::Waits;
use crate::observe::counts::CallbackCounts;
use crate::outcome::error::DeliveryError;
use crate::outcome::ticket::CallbackRef;
use crate::record::RecordSpan;
use crate::record::topics::TopicPartition;

/// Callbacks that a runner takes at once.
const CALLBACKS_PER_TURN: usize = 64;

/// Lines that are kept when they are empty, so that their memory is used again.
const LINES_KEPT: usize = 128;

/// The callbacks that an empty line keeps memory for. A burst's memory is given back.
const CAPACITY_KEPT: usize = 512;

/// A callback whose turn comes.
pub(crate) struct Ended {
    pub(crate) callback: CallbackRef,
    /// Its line.
    pub(crate) key: TopicPartition,
    pub(crate) outcome: Result<Delivered, DeliveryError>,
    /// The record's span.
    pub(crate) trace: RecordSpan,
}

/// What a change of the queue asks for, to be done without a lock.
#[derive(Default)]
pub(crate) enum RunnerSignal {
    #[default]
    None,
    Wake(Waker),
    /// A runner with this number is to be started.
    Spawn(usize),
}

/// The callbacks of one partition, which run one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line(TopicPartition);

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
        counted: bool,
    },
}

impl Runner {
    /// Changes the runner's state; returns a waker that is not needed any more.
    fn replace(&mut self, next: Self) -> Option<Waker> {
        match std::mem::replace(self, next) {
            Self::Parked(waker) => Some(waker),
            Self::Gone | Self::Seeking | Self::Busy { .. } => None,
        }
    }
}

pub(super) struct Queue {
    lines: HashMap<TopicPartition, Waiting>,
    /// Lines with something to do that no runner has.
    ready: VecDeque<TopicPartition>,
    runners: Vec<Runner>,
    most_runners: usize,
    counts: CallbackCounts,
    /// When the driver looks for runners that stall.
    watched_at: Instant,
    /// The runtime is gone.
    halted: bool,
    /// A task waits until the queue is idle.
    notifies: bool,
    /// Tasks that wait for some of the callbacks.
    pub(super) waits: Waits,
}

impl Queue {
    pub(super) fn new(most_runners: usize) -> Self {
        Self {
            lines: HashMap::new(),
            ready: VecDeque::new(),
            runners: Vec::new(),
            most_runners,
            counts: CallbackCounts::default(),
            watched_at: Instant::MAX,
            halted: false,
            notifies: false,
            waits: Waits::default(),
        }
    }

    /// Takes callbacks whose records have ended, unless the runtime is gone.
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
        self.signal()
    }

    /// Signals a runner, if a line is ready and no runner is on its way.
    fn signal(&mut self) -> RunnerSignal {
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

    /// The next turn of runner `number`: some callbacks of a line, moved to `chunk`. Without a line the runner is parked. What is
    /// not needed of `waker` stays there, and the waker of an earlier turn comes back: dropping them may run the application's
    /// code, so that is for when no lock is held.
    pub(super) fn next(
        &mut self,
        number: usize,
        before: Option<Line>,
        chunk: &mut VecDeque<Ended>,
        now: Instant,
        waker: &mut Option<Waker>,
        wakers: &mut Vec<Waker>,
    ) -> (Option<Line>, RunnerSignal, Option<Waker>) {
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
                if line.ended.capacity() > CAPACITY_KEPT {
                    line.ended.shrink_to(CAPACITY_KEPT);
                }
                if self.lines.len() > LINES_KEPT {
                    self.lines.remove(&key);
                }
            }
        }
        let next = self.ready.pop_front();
        let parked = if next.is_none() { waker.take() } else { None };
        let runner = parked.map_or(Runner::Busy { since: now, counted: false }, Runner::Parked);
        let unneeded = self.runners[number].replace(runner);
        if let Some(line) = next.and_then(|key| self.lines.get_mut(&key)) {
            let count = CALLBACKS_PER_TURN.min(line.ended.len());
            line.taken = count;
            chunk.extend(line.ended.drain(..count));
        }
        (next.map(Line), self.signal(), unneeded)
    }

    /// One callback of a line has ended, and others that were taken with it may take a while.
    pub(super) fn one_ran(&mut self, Line(key): &Line, wakers: &mut Vec<Waker>) {
        if let Some(line) = self.lines.get_mut(key)
            && line.taken > 0
        {
            line.taken -= 1;
            self.waits.ran(*key, 1, wakers);
        }
    }

    /// The callbacks of each line that have not ended.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = (TopicPartition, usize)> {
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

    pub(super) fn is_idle_or_notifies(&mut self) -> bool {
        let idle = self.is_idle();
        self.notifies = !idle;
        idle
    }

    /// Whether the queue has become idle and a task waits for that.
    pub(super) fn take_notification(&mut self) -> bool {
        self.is_idle() && std::mem::take(&mut self.notifies)
    }

    /// Whether the driver has to look for stalls earlier than planned.
    pub(super) fn is_to_be_watched(&mut self, now: Instant, stall_limit: Duration) -> bool {
        let earlier = now + stall_limit < self.watched_at;
        if earlier {
            self.watched_at = now + stall_limit;
        }
        earlier
    }

    pub(super) fn watch(&mut self, now: Instant, stall_limit: Duration) -> Instant {
        let mut next = Instant::MAX;
        for runner in &mut self.runners {
            match runner {
                Runner::Busy { since, counted } if !*counted && *since + stall_limit <= now => {
                    *counted = true;
                    self.counts.stalled += 1;
                }
                Runner::Busy { since, counted: false } => next = next.min(*since + stall_limit),
                Runner::Busy { .. } | Runner::Seeking | Runner::Parked(_) | Runner::Gone => {}
            }
        }
        self.watched_at = next;
        next
    }

    /// Whether a runner may end, when nothing more is to come. The others that have nothing to do are woken then, so that they
    /// end, too. A waker that is not needed any more comes back.
    pub(super) fn leave(&mut self, number: usize, wakers: &mut Vec<Waker>) -> (bool, Option<Waker>) {
        if !self.is_idle() {
            return (false, None);
        }
        let unneeded = self.runners[number].replace(Runner::Gone);
        self.wake_parked(wakers);
        (true, unneeded)
    }

    pub(super) fn wake_parked(&mut self, wakers: &mut Vec<Waker>) {
        for runner in &mut self.runners {
            if matches!(runner, Runner::Parked(_)) {
                wakers.extend(runner.replace(Runner::Seeking));
            }
        }
    }

    pub(super) fn counts(&self) -> CallbackCounts {
        self.counts
    }

    /// Takes nothing more; returns the callbacks that will never run.
    pub(super) fn halt(&mut self, wakers: &mut Vec<Waker>) -> impl Iterator<Item = Ended> + use<> {
        self.halted = true;
        self.waits.end(wakers);
        self.ready.clear();
        self.counts.waiting = 0;
        // Not in the map's order, which differs from run to run: dropping a callback runs the application's code.
        let mut lines: Vec<_> = std::mem::take(&mut self.lines).into_iter().collect();
        lines.sort_unstable_by_key(|(key, _)| *key);
        lines.into_iter().flat_map(|(_, line)| line.ended)
    }
}
