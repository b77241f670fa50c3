//! Waiting for what was accepted so far.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aioproducer_core::{FlushScope, TopicId};

use crate::callbacks::{WaitId, is_inside_callback};
use crate::observe::CallSpan;
use crate::outcome::ended_by::EndedBy;
use crate::record::topics::{NO_PARTITION, TopicPartition, TopicRef};
use crate::runtime::{Task, poll_turn};
use crate::state::effects::{Discard, Effects};
use crate::state::flushes::{GROUPS, Pending};
use crate::state::shared::{Shared, State};

/// The future of [`AioProducer::flush`](crate::AioProducer::flush), and what it waits for.
///
/// ```
/// # use aioproducer_driver::{AioProducer, error::FlushError};
/// # use std::time::Duration;
/// async fn orders(producer: &AioProducer) -> Result<(), FlushError> {
///     producer.flush().topic("orders").within(Duration::from_secs(5)).await
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Flush<'a> {
    shared: &'a Shared,
    within: Option<Duration>,
    /// A topic, and maybe one of its partitions; `None` for everything.
    of: Option<(TopicRef<'a>, Option<i32>)>,
    /// Callbacks are waited for, too.
    callbacks: bool,
    step: Step,
    deadline: Option<Task>,
    trace: CallSpan,
}

/// What it waits for.
enum Step {
    Nothing,
    Records(Pending),
    Callbacks(WaitId),
}

impl<'a> Flush<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        let (step, trace) = (Step::Nothing, CallSpan::default());
        Self { shared, within: None, of: None, callbacks: false, step, deadline: None, trace }
    }

    /// Only records of this topic; others linger on in the producer. A linger of the backend's own ends for all.
    pub fn topic(mut self, topic: impl Into<TopicRef<'a>>) -> Self {
        self.of = Some((topic.into(), None));
        self
    }

    /// Only records that are for this partition of the topic, by its number or by their key, and those whose partition is not chosen
    /// yet, since they may go there.
    pub fn partition(mut self, topic: impl Into<TopicRef<'a>>, partition: i32) -> Self {
        self.of = Some((topic.into(), Some(partition)));
        self
    }

    /// Waits for the callbacks of these records, too, until they have come to their end; of one topic or partition it waits
    /// for those of the whole topic.
    ///
    /// It must not be awaited where a callback waits for it, which is a deadlock. Inside of a callback it fails at once.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static FAILED: AtomicUsize = AtomicUsize::new(0);
    ///
    /// async fn load(producer: &AioProducer, rows: Vec<String>) -> Result<usize, Box<dyn std::error::Error>> {
    ///     for row in rows {
    ///         let count = |outcome: Result<_, _>| drop(FAILED.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed));
    ///         producer.produce_with(Record::to("rows").payload(row), count).await?;
    ///     }
    ///     producer.flush().callbacks().await?;
    ///     Ok(FAILED.load(Ordering::Relaxed))
    /// }
    /// ```
    pub fn callbacks(mut self) -> Self {
        self.callbacks = true;
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
        if this.callbacks && is_inside_callback() {
            return Poll::Ready(Err(FlushError::InsideCallback));
        }
        if matches!(this.step, Step::Nothing) {
            ready!(poll_turn(&*this.shared.runtime, cx));
            this.trace.flush();
            let scope = match &this.of {
                None => FlushScope::All,
                Some((topic, partition)) => match (this.shared.topics.known(topic), partition) {
                    (Some(topic), Some(partition)) => FlushScope::Partition(topic, *partition),
                    (Some(topic), None) => FlushScope::Topic(topic),
                    // Nothing was ever produced to it.
                    (None, _) => return Poll::Ready(Ok(())),
                },
            };
            let wakers = wakers(cx.waker());
            match this.shared.with(|state, effects| state.begin_flush(scope, wakers, effects)) {
                Some(flush) => this.step = Step::Records(flush),
                None => this.wait_for_callbacks(scope, cx),
            }
        }
        loop {
            match &mut this.step {
                Step::Nothing => return Poll::Ready(Ok(())),
                Step::Records(flush) => {
                    let (flush, wakers) = (*flush, wakers(cx.waker()));
                    let (flushed, timed) = this.shared.with(|state, effects| {
                        let (flushed, unused) = state.flushes.poll(flush, wakers);
                        effects.discard.extend(unused.into_iter().flatten().map(Discard::Waker));
                        (flushed, state.is_alive())
                    });
                    if !flushed {
                        ready!(poll_deadline(this.shared, this.within, &mut this.deadline, timed, cx));
                        let remaining = this.shared.with(|state, _| state.machine.left_of(flush.point));
                        if remaining > 0 {
                            this.trace.timed_out(remaining);
                            return Poll::Ready(Err(FlushError::Timeout { remaining }));
                        }
                    }
                    this.leave();
                    this.wait_for_callbacks(flush.point.scope(), cx);
                }
                Step::Callbacks(wait) => {
                    if let Some(remaining) = this.shared.callbacks.poll_wait(*wait, cx.waker().clone()) {
                        let timed = this.shared.lock().has_runtime();
                        ready!(poll_deadline(this.shared, this.within, &mut this.deadline, timed, cx));
                        this.trace.timed_out(remaining);
                        return Poll::Ready(Err(FlushError::Callbacks { remaining }));
                    }
                    this.step = Step::Nothing;
                }
            }
        }
    }
}

impl Flush<'_> {
    /// All records have their outcome, so their callbacks, if they are waited for, stand in line.
    fn wait_for_callbacks(&mut self, scope: FlushScope, cx: &Context<'_>) {
        if !self.callbacks {
            return;
        }
        // It is not known where a record that its backend lost was to go.
        let lost = (TopicId(0), NO_PARTITION);
        let concerns = |key: TopicPartition| match scope {
            FlushScope::All => true,
            FlushScope::Topic(topic) | FlushScope::Partition(topic, _) => key.0 == topic || key == lost,
        };
        let wait = self.shared.callbacks.begin_wait(concerns, cx.waker().clone());
        self.step = wait.map_or(Step::Nothing, Step::Callbacks);
    }

    /// Waits for nothing any more.
    fn leave(&mut self) {
        match std::mem::replace(&mut self.step, Step::Nothing) {
            Step::Nothing => {}
            Step::Records(flush) => self.shared.with(|state, effects| {
                effects.discard.extend(state.flushes.leave(flush).map(Discard::Waker));
            }),
            Step::Callbacks(wait) => self.shared.callbacks.leave_wait(wait),
        }
    }
}

/// Ready when the limit has passed, which begins with the first call; `timed` says whether timers may be used.
fn poll_deadline(
    shared: &Shared,
    limit: Option<Duration>,
    timer: &mut Option<Task>,
    timed: bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let (Some(limit), true) = (limit, timed) else { return Poll::Pending };
    let timer = timer.get_or_insert_with(|| shared.runtime.sleep_until(shared.runtime.now() + limit));
    timer.as_mut().poll(cx)
}

/// A flush may wait in several places. Cloning a waker may run foreign code, so it is done before a lock is taken.
fn wakers(waker: &Waker) -> [Waker; GROUPS] {
    std::array::from_fn(|_| waker.clone())
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl State {
    /// Begins a flush, unless there is nothing to wait for.
    fn begin_flush(&mut self, scope: FlushScope, wakers: [Waker; GROUPS], effects: &mut Effects) -> Option<Pending> {
        let point = self.machine.flush(scope);
        let (flush, unused) = if !self.machine.is_flushed(point) {
            let (flush, unused) = self.flushes.begin(point, wakers);
            (Some(flush), unused)
        } else if self.completing > 0 {
            let [waker, first, second] = wakers;
            (Some(self.flushes.begin_completing(point, waker)), [None, Some(first), Some(second)])
        } else {
            (None, wakers.map(Some))
        };
        effects.discard.extend(unused.into_iter().flatten().map(Discard::Waker));
        flush
    }

    /// Whether timers may be used by a wait that goes on after the producer's end: as long as the runtime runs callbacks.
    fn has_runtime(&self) -> bool {
        self.ended_by != EndedBy::Runtime
    }
}

impl fmt::Debug for Flush<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("within", &self.within).finish_non_exhaustive()
    }
}

/// Why a flush ended early.
///
/// ```
/// # use aioproducer_driver::{AioProducer, error::FlushError};
/// # use std::time::Duration;
/// /// Records that have no outcome after a second.
/// async fn remaining(producer: &AioProducer) -> usize {
///     match producer.flush().within(Duration::from_secs(1)).await {
///         Err(FlushError::Timeout { remaining }) => remaining,
///         _ => 0,
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushError {
    /// The limit of [`Flush::within`] passed.
    Timeout {
        /// Records accepted before the flush that have no outcome yet.
        remaining: usize,
    },
    /// The limit of [`Flush::within`] passed. The records have their outcomes, their [callbacks](Flush::callbacks) are behind.
    Callbacks {
        /// Callbacks that have not come to their end yet.
        remaining: usize,
    },
    /// A flush that waits for [callbacks](Flush::callbacks) was awaited inside of one, which cannot end before it. Nothing was
    /// waited for.
    InsideCallback,
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { remaining } => write!(f, "{remaining} records had no outcome before the flush's limit"),
            Self::Callbacks { remaining } => {
                write!(f, "{remaining} callbacks of delivered or failed records had not ended before the flush's limit")
            }
            Self::InsideCallback => {
                f.write_str("flush().callbacks() inside a callback would wait for itself; await flush() alone there")
            }
        }
    }
}

impl std::error::Error for FlushError {}
