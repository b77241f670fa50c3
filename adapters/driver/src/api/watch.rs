//! Waiting for a change of the producer's transactions.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aioproducer_core::backend::Failure;

use crate::state::effects::Discard;
use crate::state::shared::Shared;
use crate::state::transactions::Transactions;

/// Waits until `look`, which is asked at each change of the producer's transactions, is ready.
pub(crate) struct Watch<'a, F> {
    shared: &'a Shared,
    look: F,
    place: Option<u64>,
}

impl<'a, F> Watch<'a, F> {
    pub(crate) fn new(shared: &'a Shared, look: F) -> Self {
        Self { shared, look, place: None }
    }
}

impl<T, F: FnMut(&mut Transactions, Option<&Failure>) -> Poll<T> + Unpin> Future for Watch<'_, F> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let mut waker = Some(cx.waker().clone());
        this.shared.with(|state, effects| {
            let Some(transactions) = &mut state.transactions else { return Poll::Ready(None) };
            effects.discard.extend(transactions.leave(this.place.take()).map(Discard::Waker));
            let looked = (this.look)(transactions, state.fatal.as_ref());
            if looked.is_pending()
                && let Some(waker) = waker.take()
            {
                this.place = Some(transactions.watch(waker));
            }
            looked.map(Some)
        })
    }
}

impl<F> Drop for Watch<'_, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.with(|state, effects| {
                let waker = state.transactions.as_mut().and_then(|transactions| transactions.leave(Some(place)));
                effects.discard.extend(waker.map(Discard::Waker));
            });
        }
    }
}
