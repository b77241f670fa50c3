//! Giving up what was accepted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aioproducer_core::PurgeScope;

use crate::runtime::poll_turn;
use crate::state::shared::Shared;

/// Records that one poll fails at most.
const PURGED_PER_POLL: usize = 32;

/// The future of [`AioProducer::purge`](crate::AioProducer::purge). If it is dropped early, some records may have been purged.
///
/// ```
/// # use aioproducer_driver::{AioProducer, PurgeScope};
/// async fn give_up_all(producer: &AioProducer) {
///     producer.purge(PurgeScope::All).await;
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Purge<'a> {
    shared: &'a Shared,
    scope: PurgeScope,
    step: Step,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    New,
    Begun,
    Over,
}

impl<'a> Purge<'a> {
    pub(crate) fn new(shared: &'a Shared, scope: PurgeScope) -> Self {
        Self { shared, scope, step: Step::New }
    }
}

impl Future for Purge<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = this.shared;
        if this.step == Step::New {
            ready!(poll_turn(&*shared.runtime, cx));
        }
        shared.with(|state, effects| {
            if this.step == Step::New {
                state.machine.purge(this.scope);
                state.purges += 1;
                this.step = Step::Begun;
            }
            if this.step == Step::Begun && state.purge_some(PURGED_PER_POLL, shared, effects) {
                state.purges -= 1;
                this.step = Step::Over;
            }
        });
        if this.step == Step::Over {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Purge<'_> {
    fn drop(&mut self) {
        if self.step == Step::Begun {
            self.shared.with(|state, _| {
                state.purges -= 1;
                // The others want the same.
                if state.purges == 0 {
                    state.machine.stop_purge();
                }
            });
        }
    }
}

impl fmt::Debug for Purge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purge").field("scope", &self.scope).finish_non_exhaustive()
    }
}
