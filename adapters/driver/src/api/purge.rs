//! Giving up what was accepted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::outcome::failures::PURGED;
use crate::runtime::poll_turn;
use crate::state::effects::Purged;
use crate::state::shared::{Phase, Shared};

/// Records that one poll fails at most.
const PURGED_PER_POLL: usize = 32;

/// The future of [`AioProducer::purge`](crate::AioProducer::purge). If it is dropped early, some records may have been purged.
///
/// ```
/// # use aioproducer_driver::AioProducer;
/// async fn give_up_all(producer: &AioProducer) {
///     producer.purge(true, true).await;
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Purge<'a> {
    shared: &'a Shared,
    queued: bool,
    in_flight: bool,
    /// How many buffered records are still to be looked at, once it began.
    left: Option<usize>,
}

impl<'a> Purge<'a> {
    pub(crate) fn new(shared: &'a Shared, queued: bool, in_flight: bool) -> Self {
        Self { shared, queued, in_flight, left: None }
    }
}

impl Future for Purge<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = this.shared;
        if this.left.is_none() {
            ready!(poll_turn(&*shared.runtime, cx));
        }
        let done = shared.with(|state, effects| {
            if matches!(state.phase, Phase::Ending | Phase::Ended) {
                return true;
            }
            let left = this.left.get_or_insert_with(|| if this.queued { state.machine.stats().buffered } else { 0 });
            for _ in 0..PURGED_PER_POLL.min(*left) {
                let Some((record, ended)) = state.take_buffered() else {
                    *left = 0;
                    break;
                };
                *left -= 1;
                state.fail(shared, ended, PURGED, Some(record), effects);
            }
            if *left > 0 {
                return false;
            }
            let purged = Purged { queued: this.queued, in_flight: this.in_flight };
            state.purge_backend(purged, effects);
            true
        });
        if done {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for Purge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purge")
            .field("queued", &self.queued)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}
