//! One record: wait for room, then for delivery.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::delivery::{Delivery, DeliveryReport};
use crate::entry::{Attempt, Entered, Entry, to_delivery};
use crate::error::{ProduceError, SendError};
use crate::record::Record;
use crate::shared::Shared;
use crate::waiters::WaiterId;

/// The future of [`AioProducer::produce`](crate::AioProducer::produce).
#[must_use = "futures do nothing unless awaited"]
pub struct Produce<'a> {
    shared: &'a Shared,
    /// Checked when the future was made; `None` when it has resolved.
    entry: Option<Result<Entry<'a>, ProduceError<'a>>>,
    place: Option<WaiterId>,
}

impl<'a> Produce<'a> {
    pub(crate) fn new(shared: &'a Shared, record: Record<'a>) -> Self {
        Self { shared, entry: Some(Entry::check(shared, record)), place: None }
    }
}

impl Future for Produce<'_> {
    type Output = Result<Delivery, ProduceError<'static>>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = this.shared;
        let entered = match &mut this.entry {
            Some(Ok(entry)) => shared.with_time(|now, state, effects| {
                let attempt = Attempt { now, place: this.place, waker: cx.waker() };
                entry.enter(shared, state, to_delivery, attempt, effects)
            }),
            Some(Err(_)) => match this.entry.take() {
                Some(Err(error)) => return Poll::Ready(Err(error.into_owned())),
                _ => return Poll::Pending,
            },
            None => panic!("`Produce` polled after it was ready"),
        };
        match entered {
            Entered::Waiting(place) => {
                this.place = Some(place);
                Poll::Pending
            }
            Entered::Accepted(delivery) => {
                (this.entry, this.place) = (None, None);
                Poll::Ready(Ok(delivery))
            }
            Entered::Failed(error) => {
                (this.entry, this.place) = (None, None);
                Poll::Ready(Err(error.into_owned()))
            }
        }
    }
}

impl Drop for Produce<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.with(|state, effects| state.leave(Some(place), effects));
        }
    }
}

impl fmt::Debug for Produce<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Produce").finish_non_exhaustive()
    }
}

/// The future of [`AioProducer::send`](crate::AioProducer::send).
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Send<'a> {
    produce: Produce<'a>,
    delivery: Option<Delivery>,
}

impl<'a> Send<'a> {
    pub(crate) fn new(produce: Produce<'a>) -> Self {
        Self { produce, delivery: None }
    }
}

impl Future for Send<'_> {
    type Output = Result<DeliveryReport, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let delivery = match &mut this.delivery {
            Some(delivery) => delivery,
            none => none.insert(ready!(Pin::new(&mut this.produce).poll(cx))?),
        };
        Pin::new(delivery).poll(cx).map_err(SendError::from)
    }
}
