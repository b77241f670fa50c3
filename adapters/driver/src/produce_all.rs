//! Many records, one future.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::delivery::DeliveryReport;
use crate::entry::{Attempt, Entered, Entry};
use crate::error::{ProduceError, SendError};
use crate::groups::Member;
use crate::record::Record;
use crate::shared::{Discard, Shared, State, Ticket};
use crate::waiters::WaiterId;

/// Records that are accepted under one lock, and in one poll, at most.
const CHUNK: usize = 128;

/// What [`AioProducer::produce_all`](crate::AioProducer::produce_all) tells of each record, in their order.
pub type Outcomes = Vec<Result<DeliveryReport, SendError>>;

/// The future of [`AioProducer::produce_all`](crate::AioProducer::produce_all).
#[must_use = "futures do nothing unless awaited"]
pub struct ProduceAll<'a, 'r, I> {
    shared: &'a Shared,
    /// `None` once it was empty.
    records: Option<I>,
    /// Taken from `records` and not yet tried.
    chunk: VecDeque<Result<Entry<'r>, ProduceError<'r>>>,
    /// Where the first of `chunk` waits.
    place: Option<WaiterId>,
    /// Where the outcomes gather, once a record was tried.
    group: Option<usize>,
    tried: usize,
    /// Records that were not accepted, by their place among all.
    refused: VecDeque<(usize, SendError)>,
}

impl<'a, 'r, I> ProduceAll<'a, 'r, I>
where
    I: Iterator,
    I::Item: Into<Record<'r>>,
{
    pub(crate) fn new(shared: &'a Shared, records: I) -> Self {
        Self {
            shared,
            records: Some(records),
            chunk: VecDeque::new(),
            place: None,
            group: None,
            tried: 0,
            refused: VecDeque::new(),
        }
    }

    /// Takes records from the caller's iterator, which runs while nothing is locked.
    fn refill(&mut self) {
        let Some(records) = &mut self.records else { return };
        let shared = self.shared;
        self.chunk.extend(records.by_ref().take(CHUNK).map(|record| Entry::check(shared, record.into())));
        if self.chunk.is_empty() {
            self.records = None;
        }
    }

    /// Tries the chunk under one lock. Pending when the pool is full.
    fn enter(&mut self, cx: &Context<'_>) -> Poll<()> {
        let shared = self.shared;
        shared.with_time(|now, state, effects| {
            let group = *self.group.get_or_insert_with(|| state.groups.open());
            while let Some(entry) = self.chunk.front_mut() {
                if let Ok(entry) = entry {
                    let attempt = Attempt { now, place: self.place.take(), waker: cx.waker() };
                    let sink = |_: &Shared, state: &mut State| {
                        let index = state.groups.join(group);
                        (Ticket::Group { group, index }, ())
                    };
                    match entry.enter(shared, state, sink, attempt, effects) {
                        Entered::Accepted(()) => {}
                        Entered::Failed(error) => self.refused.push_back((self.tried, error.into_owned().into())),
                        Entered::Waiting(place) => {
                            self.place = Some(place);
                            return Poll::Pending;
                        }
                    }
                    // Nothing is left of the record, so there is nothing of anybody's to drop.
                    self.chunk.pop_front();
                } else if let Some(Err(error)) = self.chunk.pop_front() {
                    self.refused.push_back((self.tried, error.into_owned().into()));
                }
                self.tried += 1;
            }
            Poll::Ready(())
        })
    }

    /// Puts what was refused between what was accepted.
    fn outcomes(&mut self, accepted: Vec<Member>) -> Outcomes {
        let topics = &self.shared.topics;
        let mut accepted = accepted.into_iter();
        let mut outcomes = Vec::with_capacity(self.tried);
        for place in 0..self.tried {
            if self.refused.front().is_some_and(|(refused, _)| *refused == place) {
                outcomes.extend(self.refused.pop_front().map(|(_, error)| Err(error)));
            } else {
                match accepted.next() {
                    Some(Member::Delivered(topic, delivered)) => outcomes.push(Ok(DeliveryReport::new(topics, topic, delivered))),
                    Some(Member::Failed(error)) => outcomes.push(Err(error.into())),
                    Some(Member::Pending) | None => {}
                }
            }
        }
        outcomes
    }
}

impl<'r, I> Future for ProduceAll<'_, 'r, I>
where
    I: Iterator + Unpin,
    I::Item: Into<Record<'r>>,
{
    type Output = Outcomes;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcomes> {
        let this = &mut *self;
        if this.chunk.is_empty() {
            this.refill();
        }
        if !this.chunk.is_empty() {
            ready!(this.enter(cx));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(group) = this.group else { return Poll::Ready(Vec::new()) };
        let polled = this.shared.lock().groups.poll(group, cx.waker());
        let Ok(accepted) = polled else { return Poll::Pending };
        this.group = None;
        Poll::Ready(this.outcomes(accepted))
    }
}

impl<I> Drop for ProduceAll<'_, '_, I> {
    fn drop(&mut self) {
        if self.place.is_none() && self.group.is_none() {
            return;
        }
        self.shared.with(|state, effects| {
            state.leave(self.place.take(), effects);
            if let Some(group) = self.group.take() {
                let (members, waker) = state.groups.abandon(group);
                effects.discard.push(Discard::Members(members));
                effects.discard.extend(waker.map(Discard::Waker));
            }
        });
    }
}

impl<I> fmt::Debug for ProduceAll<'_, '_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProduceAll").field("tried", &self.tried).finish_non_exhaustive()
    }
}
