//! Delivery reports as a stream, for one loop that looks after many records.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aioproducer_core::{Instant, Overflow, WaitEnd};
use futures_core::Stream;

use crate::admission::error::ProduceError;
use crate::admission::room::{Ask, Places};
use crate::admission::wait_limit::{WaitLimit, wait_error};
use crate::admission::waiters::{WaiterId, Waiters};
use crate::api::produce_with::{ProduceWith, try_produce_with};
use crate::api::producer::AioProducer;
use crate::callbacks::{Outcome, Synchronous};
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::record::Record;
use crate::runtime::panics::Panics;
use crate::runtime::sync::{Mutex, lock};
use crate::runtime::{Runtime, poll_turn};
use crate::state::shared::Shared;

/// Produces records whose outcomes go to one stream. Cheap to clone. [`AioProducer::reports`] makes it.
///
/// ```
/// # use aioproducer_driver::{ProduceError, Record, Reporter};
/// /// Each line with its number as the tag.
/// async fn write(reporter: Reporter<usize>, text: &str) -> Result<(), ProduceError<'static>> {
///     for (number, line) in text.lines().enumerate() {
///         reporter.produce(Record::to("lines").payload(line), number).await?;
///     }
///     Ok(())
/// }
/// ```
pub struct Reporter<T> {
    producer: AioProducer,
    channel: Arc<Channel<T>>,
}

/// The outcomes of a [`Reporter`]'s records, each with the tag that was given with the record. Those of a partition are in
/// order. It ends when all reporters are gone and every outcome was read. If it is dropped early, the records are delivered all
/// the same, and the reporters reject new ones with [`ProduceError::ReportsDropped`].
///
/// ```
/// # use aioproducer_driver::Reports;
/// /// The tags of the records that were not delivered.
/// async fn failed(mut reports: Reports<usize>) -> Vec<usize> {
///     let mut failed = Vec::new();
///     while let Some((tag, outcome)) = reports.next().await {
///         failed.extend(outcome.is_err().then_some(tag));
///     }
///     failed
/// }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Reports<T> {
    channel: Arc<Channel<T>>,
    /// Whose turns it takes.
    runtime: Arc<dyn Runtime>,
}

impl AioProducer {
    /// A stream of outcomes, for one loop that looks after all records of the [`Reporter`]: it produces them, each with a
    /// tag that comes back with the outcome. At most `capacity` outcomes, at least 1, are under way or unread at a time.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, ProduceError, Record};
    /// async fn write(producer: &AioProducer, rows: Vec<String>) -> Result<(), ProduceError<'static>> {
    ///     let (reporter, mut reports) = producer.reports(rows.len());
    ///     for (number, row) in rows.into_iter().enumerate() {
    ///         reporter.produce(Record::to("rows").payload(row), number).await?;
    ///     }
    ///     drop(reporter);
    ///     while let Some((number, outcome)) = reports.next().await {
    ///         println!("row {number}: {outcome:?}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn reports<T: Send + 'static>(&self, capacity: usize) -> (Reporter<T>, Reports<T>) {
        Reporter::pair(self, capacity)
    }
}

impl<T: Send + 'static> Reporter<T> {
    pub(crate) fn pair(producer: &AioProducer, capacity: usize) -> (Self, Reports<T>) {
        let state = State {
            reports: VecDeque::new(),
            free: capacity.max(1),
            waiters: Waiters::new(),
            outstanding: 0,
            reporters: 1,
            reader: None,
            abandoned: false,
        };
        let channel = Arc::new(Channel(Mutex::new(state), Arc::clone(&producer.shared().panics)));
        let reports = Reports { channel: Arc::clone(&channel), runtime: Arc::clone(&producer.shared().runtime) };
        (Self { producer: producer.clone(), channel }, reports)
    }

    /// Gets a record accepted. Waits while the pool is full, and while as many outcomes as the stream has room for are
    /// under way or unread. A record's own timeout covers both, and so does the delivery timeout.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; nothing goes to the stream then, and `tag` is dropped.
    /// [`ProduceError::ReportsDropped`]: the outcome would be lost.
    pub async fn produce<'r>(&self, record: impl Into<Record<'r>>, tag: T) -> Result<(), ProduceError<'static>> {
        let (record, shared) = (record.into(), self.producer.shared());
        let (own, wait_limit) = (record.get_timeout(), WaitLimit::default());
        let (place, wait_limit) =
            match (Acquire { channel: &self.channel, waiting: None, shared, own, wait_limit }).await {
                Ok(acquired) => acquired,
                Err(NoPlace::Abandoned) => return Err(ProduceError::ReportsDropped(record).into_owned()),
                Err(NoPlace::Over(over)) => return Err(wait_error(over, record).into_owned()),
            };
        let callback = Synchronous(move |outcome| place.fill(tag, outcome));
        ProduceWith::new(shared, record, callback).having_waited(wait_limit).await
    }

    /// Gets a record accepted if there is room at once, in the pool and in the stream.
    ///
    /// ```
    /// # use aioproducer_driver::{ProduceError, Record, Reporter};
    /// /// Whether there was room.
    /// fn offer(reporter: &Reporter<u64>, row: u64) -> Result<bool, ProduceError<'static>> {
    ///     match reporter.try_produce(Record::to("rows").payload(row.to_string()), row) {
    ///         Ok(()) => Ok(true),
    ///         Err(ProduceError::Full(_) | ProduceError::PartitionFull { .. }) => Ok(false),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; nothing goes to the stream then, and `tag` is dropped.
    /// [`ProduceError::Full`]: the pool or the stream is full, or others wait for room there.
    /// [`ProduceError::ReportsDropped`]: the outcome would be lost.
    pub fn try_produce<'r>(&self, record: impl Into<Record<'r>>, tag: T) -> Result<(), ProduceError<'static>> {
        let mut record = record.into();
        let place = match self.channel.change(|state, _| state.try_take()) {
            Some(Ok(())) => Place(Some(Arc::clone(&self.channel))),
            Some(Err(Abandoned)) => return Err(ProduceError::ReportsDropped(record).into_owned()),
            None => return Err(ProduceError::Full(record).into_owned()),
        };
        let callback = Synchronous(move |outcome| place.fill(tag, outcome));
        try_produce_with(self.producer.shared(), &mut record, callback).map_err(ProduceError::into_owned)
    }
}

impl<T> Reports<T> {
    /// The next outcome, with its tag; `None` when all reporters are gone and every outcome was read. Dropped early, it has
    /// taken nothing.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, ProduceError, Record};
    /// async fn write(producer: &AioProducer, rows: Vec<String>) -> Result<(), ProduceError<'static>> {
    ///     let (reporter, mut reports) = producer.reports(rows.len());
    ///     for (number, row) in rows.into_iter().enumerate() {
    ///         reporter.produce(Record::to("rows").payload(row), number).await?;
    ///     }
    ///     drop(reporter);
    ///     while let Some((number, outcome)) = reports.next().await {
    ///         println!("row {number}: {outcome:?}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn next(&mut self) -> Option<(T, Result<DeliveryReport, DeliveryError>)> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T> Clone for Reporter<T> {
    fn clone(&self) -> Self {
        lock(&self.channel.0).reporters += 1;
        Self { producer: self.producer.clone(), channel: Arc::clone(&self.channel) }
    }
}

impl<T> Drop for Reporter<T> {
    fn drop(&mut self) {
        self.channel.change(|state, _| state.reporters -= 1);
    }
}

impl<T> Stream for Reports<T> {
    type Item = (T, Outcome);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(poll_turn(&*self.runtime, cx));
        let mut kept: Option<Waker> = None;
        loop {
            let (polled, before) = self.channel.change(|state, wakers| match state.reports.pop_front() {
                Some(report) => {
                    state.give_back(wakers);
                    (Some(Poll::Ready(Some(report))), None)
                }
                None if state.is_over() => (Some(Poll::Ready(None)), None),
                None => match kept.take() {
                    Some(waker) => (Some(Poll::Pending), state.reader.replace(waker)),
                    None => (None, None),
                },
            });
            drop(before);
            match polled {
                Some(polled) => return polled,
                None => kept = Some(cx.waker().clone()),
            }
        }
    }
}

impl<T> Drop for Reports<T> {
    fn drop(&mut self) {
        let unread = self.channel.change(|state, wakers| {
            state.abandoned = true;
            state.waiters.wake_all(wakers);
            std::mem::take(&mut state.reports)
        });
        drop(unread);
    }
}

/// The stream was dropped.
struct Abandoned;

/// Why there is no place in the stream.
enum NoPlace {
    Abandoned,
    Over(WaitEnd),
}

struct Channel<T>(Mutex<State<T>>, Arc<Panics>);

struct State<T> {
    reports: VecDeque<(T, Outcome)>,
    /// Records that may still be produced before some reports are read.
    free: usize,
    waiters: Waiters,
    /// Places that are taken and not filled.
    outstanding: usize,
    reporters: usize,
    reader: Option<Waker>,
    /// The stream was dropped.
    abandoned: bool,
}

impl<T> State<T> {
    fn is_over(&self) -> bool {
        self.reporters == 0 && self.outstanding == 0
    }

    /// Takes a place, if no task waits for one; `None` if there is none.
    fn try_take(&mut self) -> Option<Result<(), Abandoned>> {
        if self.abandoned {
            return Some(Err(Abandoned));
        }
        (self.waiters.is_empty() && self.free > 0).then(|| {
            self.free -= 1;
            self.outstanding += 1;
            Ok(())
        })
    }

    /// There is room for one more.
    fn give_back(&mut self, wakers: &mut Vec<Waker>) {
        self.free += 1;
        self.waiters.grant(&Places(self.free), wakers);
    }
}

impl<T> Channel<T> {
    /// Changes the state, and without the lock wakes whom it concerns.
    fn change<A>(&self, change: impl FnOnce(&mut State<T>, &mut Vec<Waker>) -> A) -> A {
        let mut wakers = Vec::new();
        let answer = {
            let state = &mut *lock(&self.0);
            let answer = change(state, &mut wakers);
            if state.is_over() || !state.reports.is_empty() {
                wakers.extend(state.reader.take());
            }
            answer
        };
        self.1.wake_all(wakers);
        answer
    }
}

/// Waits for a place in the stream.
struct Acquire<'a, T> {
    channel: &'a Arc<Channel<T>>,
    waiting: Option<WaiterId>,
    shared: &'a Shared,
    /// The record's own timeout.
    own: Option<Duration>,
    wait_limit: WaitLimit,
}

impl<T> Future for Acquire<'_, T> {
    type Output = Result<(Place<T>, WaitLimit), NoPlace>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = self.waiting;
        let mut kept: Option<Waker> = None;
        let (acquired, unused) = loop {
            let asked = self.channel.change(|state, wakers| {
                if state.abandoned {
                    return Some((None, waiting.and_then(|waiting| state.waiters.leave(waiting))));
                }
                let first = waiting.map_or(state.waiters.is_empty(), |waiting| state.waiters.is_head(waiting));
                if first && state.free > 0 {
                    state.free -= 1;
                    state.outstanding += 1;
                    let unused = waiting.and_then(|waiting| state.waiters.leave(waiting));
                    state.waiters.grant(&Places(state.free), wakers);
                    return Some((Some(Ok(())), unused));
                }
                let waker = kept.take()?;
                Some(match waiting {
                    Some(waiting) => (Some(Err(waiting)), state.waiters.update(waiting, waker)),
                    None => (Some(Err(state.waiters.join(Ask::default(), Instant::ZERO, waker))), None),
                })
            });
            match asked {
                Some(answer) => break answer,
                // A waker is cloned without the lock: that may run foreign code. Then the question is asked again.
                None => kept = Some(cx.waker().clone()),
            }
        };
        drop(unused);
        let Some(acquired) = acquired else {
            self.waiting = None;
            return Poll::Ready(Err(NoPlace::Abandoned));
        };
        self.waiting = acquired.err();
        if self.waiting.is_none() {
            let place = Place(Some(Arc::clone(self.channel)));
            return Poll::Ready(Ok((place, std::mem::take(&mut self.wait_limit))));
        }
        let this = &mut *self;
        let timeout = this.own.into_iter().chain(this.shared.context.delivery_timeout).min();
        match this.wait_limit.is_over(&*this.shared.runtime, Overflow::Wait, timeout, None, cx) {
            Some(over) => Poll::Ready(Err(NoPlace::Over(over))),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Acquire<'_, T> {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting else { return };
        let unused = self.channel.change(|state, wakers| {
            let unused = state.waiters.leave(waiting);
            state.waiters.grant(&Places(state.free), wakers);
            unused
        });
        drop(unused);
    }
}

/// A place in the stream for one outcome. Dropped, it is given back.
struct Place<T>(Option<Arc<Channel<T>>>);

impl<T> Place<T> {
    fn fill(mut self, tag: T, outcome: Outcome) {
        let Some(channel) = self.0.take() else { return };
        let unread = channel.change(|state, wakers| {
            state.outstanding -= 1;
            if state.abandoned {
                state.give_back(wakers);
                return Some((tag, outcome));
            }
            state.reports.push_back((tag, outcome));
            None
        });
        drop(unread);
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            channel.change(|state, wakers| {
                state.outstanding -= 1;
                state.give_back(wakers);
            });
        }
    }
}

impl<T> fmt::Debug for Reporter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Reports<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("unread", &lock(&self.channel.0).reports.len()).finish_non_exhaustive()
    }
}
