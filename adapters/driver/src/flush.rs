//! Waiting for what was accepted so far.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aioproducer_core::{FlushPoint, Instant};

use crate::effects::{Discard, Effects};
use crate::observe::Call;
use crate::runtime::{Task, poll_turn};
use crate::scope::{Scope, ScopedFlush};
use crate::shared::{FlushWaiter, Phase, Shared, State};
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
    id: u64,
    point: FlushPoint,
    scope: Option<Scope>,
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
                None => None,
                Some((topic, partition)) => match shared.topics.known(topic) {
                    Some(topic) => Some(Scope { topic, partition: *partition }),
                    // Nothing was ever produced to it.
                    None => return Poll::Ready(Ok(())),
                },
            };
            let begun = shared.with(|state, effects| state.begin_flush(scope, cx.waker(), effects));
            let Some((id, point)) = begun else { return Poll::Ready(Ok(())) };
            let deadline = this.within.filter(|_| shared.lock().is_timed()).map(|limit| {
                let at = shared.runtime.now() + limit;
                (at, shared.runtime.sleep_until(at))
            });
            this.waiting = Some(Waiting { id, point, scope, deadline });
            return self.poll(cx);
        };
        let (flushed, timed) = shared.with(|state, effects| {
            state.recount_scopes();
            // Whoever was woken is done, even if the outcomes of later records are being told just now.
            let told = state.flush_waker(waiting.id).is_some_and(|waker| waker.is_none());
            let flushed = match waiting.scope {
                _ if told => true,
                None => state.is_flushed(waiting.point),
                Some(_) => state.is_scope_flushed(waiting.id),
            };
            if flushed {
                state.end_flush(waiting.id, effects);
            } else if let Some(waker) = state.flush_waker(waiting.id) {
                let before = waker.replace(cx.waker().clone());
                effects.discard.extend(before.map(Discard::Waker));
            }
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
            let (point, scope) = (waiting.point, waiting.scope);
            let is_meant = |lane| scope.is_none_or(|scope| scope.has(lane));
            let remaining = shared.with(|state, _| state.machine.len_before_in(point, is_meant));
            if remaining == 0 {
                return Poll::Ready(Ok(()));
            }
            this.trace.timed_out(remaining);
            return Poll::Ready(Err(FlushError::Timeout { remaining }));
        }
        Poll::Pending
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.shared.with(|state, effects| state.end_flush(waiting.id, effects));
        }
    }
}

impl State {
    /// Begins a flush, unless there is nothing to wait for.
    fn begin_flush(&mut self, scope: Option<Scope>, waker: &Waker, effects: &mut Effects) -> Option<(u64, FlushPoint)> {
        let id = self.next_flush;
        let waker = Some(waker.clone());
        let point = match scope {
            None => {
                let point = self.machine.flush();
                if self.is_flushed(point) {
                    return None;
                }
                self.flushes.push_back(FlushWaiter { id, point, waker });
                point
            }
            Some(scope) => {
                let point = self.machine.flush_lanes(|lane| scope.has(lane));
                let left = self.machine.len_before_in(point, |lane| scope.has(lane));
                if left == 0 && self.completing == 0 {
                    return None;
                }
                self.scoped.push(ScopedFlush { id, scope, point, left, waker });
                point
            }
        };
        self.next_flush += 1;
        effects.flush_backend();
        Some((id, point))
    }

    fn flush_position(&self, id: u64) -> Option<usize> {
        self.flushes.binary_search_by_key(&id, |flush| flush.id).ok()
    }

    fn scoped_position(&self, id: u64) -> Option<usize> {
        self.scoped.iter().position(|flush| flush.id == id)
    }

    fn flush_waker(&mut self, id: u64) -> Option<&mut Option<Waker>> {
        match self.flush_position(id) {
            Some(at) => Some(&mut self.flushes[at].waker),
            None => self.scoped_position(id).map(|at| &mut self.scoped[at].waker),
        }
    }

    fn is_scope_flushed(&self, id: u64) -> bool {
        let left = self.scoped_position(id).map_or(0, |at| self.scoped[at].left);
        left == 0 && self.completing == 0
    }

    /// Wakes flushes of a scope that wait for nothing any more.
    pub(crate) fn wake_scoped(&mut self, effects: &mut Effects) {
        self.recount_scopes();
        if self.completing == 0 {
            let done = self.scoped.iter_mut().filter(|flush| flush.left == 0);
            effects.wakers.extend(done.filter_map(|flush| flush.waker.take()));
        }
    }

    /// Whether timers may be used. A producer that is ending may have lost its runtime, and ends soon by itself.
    fn is_timed(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing(_))
    }

    fn end_flush(&mut self, id: u64, effects: &mut Effects) {
        let flush = self.flush_position(id).and_then(|at| self.flushes.remove(at));
        let scoped = self.scoped_position(id).map(|at| self.scoped.swap_remove(at));
        let waker = flush.and_then(|flush| flush.waker).or_else(|| scoped.and_then(|flush| flush.waker));
        effects.discard.extend(waker.map(Discard::Waker));
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
