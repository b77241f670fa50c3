//! A task that runs callbacks.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use super::queue::{Ended, Line, RunnerSignal};
use super::{CallbackRef, InsideCallback, lock};
use crate::observe::{RecordSpan, SUBSCRIBER};
use crate::outcome::report::DeliveryReport;
use crate::runtime::Task;
use crate::runtime::panics::discard;
use crate::state::shared::{Phase, Shared};

/// Callbacks that one poll runs at most, before others have their turn on the thread.
const BUDGET: usize = 128;

/// Takes a line, runs some of its callbacks, takes the next; parks when there is none.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    number: usize,
    line: Option<Line>,
    /// What was taken of the line.
    chunk: VecDeque<Ended>,
    /// Callbacks whose places are vacant, which the pool does not know yet.
    called: Vec<CallbackRef>,
    /// What an asynchronous callback has still to do.
    current: Option<Task>,
    /// The span of the record whose callback it is.
    trace: RecordSpan,
    /// Callbacks that have come to their end since the queue was last told, and those of them that panicked.
    done: usize,
    panicked: u64,
    ended: bool,
    /// Another is started if the runtime panics instead of taking it.
    is_tentative: bool,
}

/// What a runner has to do.
enum Turn {
    /// It has a line to work on.
    Now,
    /// The same, but another runner was called, which is to have its chance first.
    Later,
    Nothing,
}

impl Runner {
    pub(crate) fn new(shared: Arc<Shared>, number: usize, is_last: bool) -> Self {
        Self {
            shared,
            number,
            line: None,
            chunk: VecDeque::new(),
            called: Vec::new(),
            current: None,
            trace: RecordSpan::default(),
            done: 0,
            panicked: 0,
            ended: false,
            // Who starts it may be unwinding for a reason of its own.
            is_tentative: !is_last && !thread::panicking(),
        }
    }

    /// Goes on to the next line, if there is one.
    fn turn(&mut self, cx: &Context<'_>) -> Turn {
        let shared = &self.shared;
        let callbacks = &shared.callbacks;
        let now = shared.runtime.now();
        let mut wakers = Vec::new();
        let (call, tells, watched) = {
            let queue = &mut *lock(&callbacks.queue);
            queue.done(std::mem::take(&mut self.done), std::mem::take(&mut self.panicked));
            let call;
            let (before, chunk) = (self.line.take(), &mut self.chunk);
            (self.line, call) = queue.next(self.number, before, chunk, now, cx.waker(), &mut wakers);
            let watched = self.line.is_some() && queue.is_to_be_watched(now, callbacks.patience);
            (call, queue.has_to_tell(), watched)
        };
        // Whoever waits for a place may have it while these run: they do not pile up any more.
        callbacks.pool.give_back(self.chunk.len(), self.called.drain(..));
        shared.panics.wake_all(wakers);
        let called = !matches!(call, RunnerSignal::None);
        callbacks.follow(shared, call);
        shared.observer.recount(&shared.topics, callbacks, &shared.panics);
        if tells || watched {
            shared.with(|state, effects| {
                effects.wakers.extend(state.driver.take());
                if tells {
                    effects.wakers.append(&mut state.close_wakers);
                }
            });
        }
        match self.line {
            None => Turn::Nothing,
            // An executor may keep the one that was called for this thread, to run when this task returns.
            Some(_) if called => Turn::Later,
            Some(_) => Turn::Now,
        }
    }

    /// Whether nothing is left, and nothing comes any more.
    fn is_done(&self) -> bool {
        if self.shared.lock().phase != Phase::Ended {
            return false;
        }
        let mut wakers = Vec::new();
        let done = lock(&self.shared.callbacks.queue).leave(self.number, &mut wakers);
        self.shared.panics.wake_all(wakers);
        done
    }

    /// Runs a step of a callback; what it returns is what is left of it.
    fn step(&mut self, step: impl FnOnce(&Shared) -> Option<Task>) {
        let shared = &self.shared;
        let outcome = {
            let _calling = InsideCallback::begin();
            catch_unwind(AssertUnwindSafe(|| self.trace.inside(|| step(shared))))
        };
        self.current = match outcome {
            Ok(rest) => rest,
            Err(panic) => {
                self.panicked += 1;
                shared.panics.catch(SUBSCRIBER, || self.trace.panicked());
                discard(panic);
                None
            }
        };
        if self.current.is_none() {
            self.done += 1;
            if let Some(line) = &self.line {
                shared.callbacks.one_ran(line);
            }
            shared.panics.drop_all(SUBSCRIBER, [std::mem::take(&mut self.trace)]);
        }
    }
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.is_tentative = false;
        for _ in 0..BUDGET {
            if let Some(mut current) = this.current.take() {
                this.step(|_| match current.as_mut().poll(cx) {
                    Poll::Pending => Some(current),
                    Poll::Ready(()) => {
                        drop(current);
                        None
                    }
                });
                if this.current.is_some() {
                    return Poll::Pending;
                }
            } else if let Some(Ended { callback, key, outcome, trace }) = this.chunk.pop_front() {
                this.shared.panics.catch(SUBSCRIBER, || trace.outcome(&outcome));
                this.trace = trace;
                this.called.push(callback);
                this.step(|shared| {
                    let outcome = outcome.map(|at| DeliveryReport::new(&shared.topics, key.0, at));
                    shared.callbacks.pool.call(callback, outcome)
                });
            } else {
                match this.turn(cx) {
                    Turn::Now => {}
                    Turn::Later => break,
                    Turn::Nothing => {
                        this.ended = this.is_done();
                        return if this.ended { Poll::Ready(()) } else { Poll::Pending };
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if self.ended || self.is_tentative && thread::panicking() {
            return;
        }
        // Their places were given back when they were taken from the line.
        let callbacks = &self.shared.callbacks;
        self.called.extend(callbacks.discard(self.chunk.drain(..)));
        callbacks.pool.give_back(0, self.called.drain(..));
        self.shared.panics.drop_all("a callback that is dropped", self.current.take());
        self.shared.callbacks.halt();
        self.shared.with(|state, effects| effects.wakers.append(&mut state.close_wakers));
    }
}
