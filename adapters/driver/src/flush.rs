//! Waiting for what was accepted so far.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aioproducer_core::{Instant, Lane};

use crate::effects::{Discard, Effects};
use crate::flushes::{Group, Pending, Scope};
use crate::observe::Call;
use crate::runtime::{Task, poll_turn};
use crate::shared::{Phase, Shared, State};
use crate::topics::TopicRef;

/// The future of [`AioProducer::flush`](crate::AioProducer::flush).
#[must_use = "futures do nothing unless awaited"]
pub struct Flush<'a> {
    shared: &'a Shared,
    within: Option<Duration>,
    /// A topic, and maybe one of its partitions; `None` for everything.
    of: Option<(TopicRef<'a>, Option<i32>)>,
    waiting: Option<Waiting>,
    trace: Call,
}

struct Waiting {
    flush: Pending,
    deadline: Option<(Instant, Task)>,
}

impl<'a> Flush<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, within: None, of: None, waiting: None, trace: Call::default() }
    }

    /// Only records of this topic; others linger on in the producer. A linger of the backend's own ends for all.
    pub fn topic(mut self, topic: impl Into<TopicRef<'a>>) -> Self {
        self.of = Some((topic.into(), None));
        self
    }

    /// Only records that name this partition of the topic, and those of the topic that name none, since they may go there.
    pub fn partition(mut self, topic: impl Into<TopicRef<'a>>, partition: i32) -> Self {
        self.of = Some((topic.into(), Some(partition)));
        self
    }

    /// Gives up after `limit`, counted from the first poll. The records stay accepted.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }
}

impl Future for Flush<'_> {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = this.shared;
        if this.waiting.is_none() {
            ready!(poll_turn(&*shared.runtime, cx));
        }
        this.trace.flush();
        let Some(waiting) = &mut this.waiting else {
            let scope = match &this.of {
                None => Scope::All,
                Some((topic, partition)) => match (shared.topics.known(topic), partition) {
                    (Some(topic), Some(partition)) => Scope::Partition(topic, *partition),
                    (Some(topic), None) => Scope::Topic(topic),
                    // Nothing was ever produced to it.
                    (None, _) => return Poll::Ready(Ok(())),
                },
            };
            let wakers = two(cx.waker());
            let begun = shared.with(|state, effects| state.begin_flush(scope, wakers, effects));
            let Some(flush) = begun else { return Poll::Ready(Ok(())) };
            let deadline = this.within.filter(|_| shared.lock().is_timed()).map(|limit| {
                let at = shared.runtime.now() + limit;
                (at, shared.runtime.sleep_until(at))
            });
            this.waiting = Some(Waiting { flush, deadline });
            return self.poll(cx);
        };
        let wakers = two(cx.waker());
        let (flushed, timed) = shared.with(|state, effects| {
            let (flushed, unused) = state.flushes.poll(&mut waiting.flush, wakers);
            effects.discard.extend(unused.into_iter().flatten().map(Discard::Waker));
            (flushed, state.is_timed())
        });
        if flushed {
            this.waiting = None;
            return Poll::Ready(Ok(()));
        }
        if let Some((_, timer)) = &mut waiting.deadline
            && timed
            && timer.as_mut().poll(cx).is_ready()
        {
            let remaining = shared.with(|state, _| state.flushes.left(&waiting.flush));
            if remaining == 0 {
                return Poll::Ready(Ok(()));
            }
            this.trace.timed_out(remaining);
            return Poll::Ready(Err(FlushError::Timeout { remaining }));
        }
        Poll::Pending
    }
}

/// A flush may wait in two places. Cloning a waker may run anybody's code, so it is done before a lock is taken.
fn two(waker: &Waker) -> [Waker; 2] {
    [waker.clone(), waker.clone()]
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.shared.with(|state, effects| {
                let unused = state.flushes.leave(&waiting.flush);
                effects.discard.extend(unused.into_iter().flatten().map(Discard::Waker));
            });
        }
    }
}

impl State {
    /// Begins a flush, unless there is nothing to wait for.
    fn begin_flush(&mut self, scope: Scope, wakers: [Waker; 2], effects: &mut Effects) -> Option<Pending> {
        let machine = &mut self.machine;
        let point = match scope {
            Scope::All => machine.flush(),
            Scope::Topic(topic) => machine.flush_lanes(|lane| lane.topic() == topic),
            Scope::Partition(topic, partition) => {
                machine.flush_lane(Lane::new(topic, Some(partition)));
                machine.flush_lane(Lane::new(topic, None))
            }
        };
        let outstanding = |group| match group {
            Group::All => machine.len(),
            Group::Topic(topic) => machine.len_in(|lane| lane.topic() == topic),
            Group::Lane(lane) => machine.len_of(lane),
        };
        let (begun, unused) = self.flushes.begin(scope.groups(), point, outstanding, self.completing > 0, wakers);
        effects.discard.extend(unused.into_iter().flatten().map(Discard::Waker));
        if begun.is_some() {
            effects.flush_backend();
        }
        begun
    }

    /// Whether timers may be used. A producer that is ending may have lost its runtime, and ends soon by itself.
    fn is_timed(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing(_))
    }
}

impl fmt::Debug for Flush<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("within", &self.within).finish_non_exhaustive()
    }
}

/// Why a flush ended early.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushError {
    /// The limit of [`Flush::within`] passed.
    Timeout {
        /// Records accepted before the flush that have no outcome yet.
        remaining: usize,
    },
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { remaining } => write!(f, "{remaining} records had no outcome before the flush's limit"),
        }
    }
}

impl std::error::Error for FlushError {}
