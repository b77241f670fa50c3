//! A task that runs callbacks.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use super::inside::InsideCallback;
use super::queue::{Ended, Line, RunnerSignal};
use super::{Callbacks, summary};
use crate::observe::SUBSCRIBER;
use crate::outcome::report::DeliveryReport;
use crate::outcome::ticket::CallbackRef;
use crate::record::RecordSpan;
use crate::record::topics::Topics;
use crate::runtime::panics::discard;
use crate::runtime::sync::lock;
use crate::runtime::{Runtime, Task};

/// Callbacks that one poll runs at most, before the task returns to its executor.
const CALLBACKS_PER_POLL: usize = 128;

/// What runners need of their producer. No method is called under a lock.
pub(crate) trait Host: Send + Sync + 'static {
    fn callbacks(&self) -> &Callbacks;

    fn runtime(&self) -> &dyn Runtime;

    fn topics(&self) -> &Arc<Topics>;

    /// Itself, to be kept by a runner; `None` if it is about to go.
    fn me(&self) -> Option<Arc<Self>>;

    /// The callbacks' counts have changed.
    fn counts_changed(&self);

    /// Wakes the driver task, which looks for stalls, and the tasks that wait for the end of all callbacks.
    fn wake(&self, driver: bool, closing: bool);

    /// Whether no callback comes any more.
    fn has_ended(&self) -> bool;
}

impl Callbacks {
    /// Does what [`Callbacks::push`] asks for, without a lock.
    pub(crate) fn follow<H: Host>(&self, host: &H, signal: RunnerSignal) {
        match signal {
            RunnerSignal::None => {}
            RunnerSignal::Wake(waker) => self.panics.wake_all([waker]),
            RunnerSignal::Spawn(number) => {
                let Some(host) = host.me() else { return };
                // A runtime that panics is asked once more. If that fails, too, the runtime counts as gone.
                for is_last in [false, true] {
                    let runner = Box::pin(Runner::new(Arc::clone(&host), number, is_last));
                    if self.panics.catch("the runtime's spawn", || host.runtime().spawn(runner)).is_some() {
                        return;
                    }
                }
            }
        }
    }
}

/// Takes a line, runs some of its callbacks, takes the next; parks when there is none.
struct Runner<H: Host> {
    host: Arc<H>,
    number: usize,
    line: Option<Line>,
    /// What was taken of the line.
    chunk: VecDeque<Ended>,
    /// Callbacks that were called and whose places were not given back yet.
    called: Vec<CallbackRef>,
    /// The rest of an asynchronous callback.
    current: Option<Task>,
    /// The span of the record whose callback it is.
    trace: RecordSpan,
    /// Callbacks that have ended and that the queue has not counted yet, and those of them that panicked.
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
    /// The same, but another runner was woken or started, and is to have its chance first.
    Later,
    Nothing,
}

impl<H: Host> Runner<H> {
    fn new(host: Arc<H>, number: usize, is_last: bool) -> Self {
        Self {
            host,
            number,
            line: None,
            chunk: VecDeque::new(),
            called: Vec::new(),
            current: None,
            trace: RecordSpan::default(),
            done: 0,
            panicked: 0,
            ended: false,
            // The thread that starts it may be unwinding already.
            is_tentative: !is_last && !thread::panicking(),
        }
    }

    /// Goes on to the next line, if there is one.
    fn turn(&mut self, cx: &Context<'_>) -> Turn {
        let callbacks = self.host.callbacks();
        let now = self.host.runtime().now();
        // Cloning or dropping a waker may run the application's code, so neither is done under the lock.
        let mut waker = Some(cx.waker().clone());
        let mut wakers = Vec::new();
        let (signal, is_idle, is_watched, _unneeded) = {
            let queue = &mut *lock(&callbacks.queue);
            queue.done(std::mem::take(&mut self.done), std::mem::take(&mut self.panicked));
            let (before, chunk) = (self.line.take(), &mut self.chunk);
            let (line, signal, unneeded) = queue.next(self.number, before, chunk, now, &mut waker, &mut wakers);
            self.line = line;
            let is_watched = self.line.is_some() && queue.is_to_be_watched(now, callbacks.stall_limit);
            (signal, queue.take_notification(), is_watched, unneeded)
        };
        // The places may be taken while these run: what has been taken from the queue does not pile up.
        callbacks.pool.give_back(self.chunk.len(), self.called.drain(..));
        callbacks.panics.wake_all(wakers);
        let has_signalled = !matches!(signal, RunnerSignal::None);
        callbacks.follow(&*self.host, signal);
        self.host.counts_changed();
        if is_idle || is_watched {
            self.host.wake(true, is_idle);
        }
        match self.line {
            None => Turn::Nothing,
            // An executor may keep the other runner for this thread, to run when this task returns.
            Some(_) if has_signalled => Turn::Later,
            Some(_) => Turn::Now,
        }
    }

    /// Whether nothing is left, and nothing comes any more.
    fn is_done(&self) -> bool {
        if !self.host.has_ended() {
            return false;
        }
        let callbacks = self.host.callbacks();
        let mut wakers = Vec::new();
        let (done, _unneeded) = lock(&callbacks.queue).leave(self.number, &mut wakers);
        callbacks.panics.wake_all(wakers);
        done
    }

    /// Runs a step of a callback; what it returns is what is left of it.
    fn step(&mut self, step: impl FnOnce(&H) -> Option<Task>) {
        let (host, callbacks) = (&*self.host, self.host.callbacks());
        let outcome = {
            let _inside = InsideCallback::begin();
            catch_unwind(AssertUnwindSafe(|| self.trace.inside(|| step(host))))
        };
        self.current = match outcome {
            Ok(rest) => rest,
            Err(panic) => {
                self.panicked += 1;
                callbacks.panics.catch(SUBSCRIBER, || self.trace.panicked());
                discard(panic);
                None
            }
        };
        if self.current.is_none() {
            self.done += 1;
            if let Some(line) = &self.line {
                callbacks.one_ran(line);
            }
            callbacks.panics.drop_all(SUBSCRIBER, [std::mem::take(&mut self.trace)]);
        }
    }
}

impl<H: Host> Future for Runner<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.is_tentative = false;
        for _ in 0..CALLBACKS_PER_POLL {
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
                this.host.callbacks().panics.catch(SUBSCRIBER, || trace.ended(summary(&outcome)));
                this.trace = trace;
                this.called.push(callback);
                this.step(|host| {
                    let outcome = outcome.map(|at| DeliveryReport::new(host.topics(), key.0, at));
                    host.callbacks().pool.call(callback, outcome)
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

impl<H: Host> Drop for Runner<H> {
    fn drop(&mut self) {
        if self.ended || self.is_tentative && thread::panicking() {
            return;
        }
        // Room for them was made when they were taken from the line.
        let host = &self.host;
        let callbacks = host.callbacks();
        self.called.extend(callbacks.discard(self.chunk.drain(..)));
        callbacks.pool.give_back(0, self.called.drain(..));
        callbacks.panics.drop_all("a callback that is dropped", self.current.take());
        callbacks.halt();
        host.wake(false, true);
    }
}
