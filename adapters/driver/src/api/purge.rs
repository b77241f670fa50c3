//! Giving up what was accepted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_core::{Completed, Lane};

use crate::outcome::ticket::Ticket;
use crate::record::OwnedRecord;
use crate::runtime::poll_turn;
use crate::state::effects::{Effects, Purged};
use crate::state::shared::{Phase, Shared, State};

/// Records that one poll fails at most.
const BUDGET: usize = 32;

pub(crate) const PURGED: Failure =
    Failure::new(FailureKind::Purged, Status::NotPersisted, None, "the record was purged before it was handed off");

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
            for _ in 0..BUDGET.min(*left) {
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

impl State {
    /// Takes back a record that was not handed off, also of a lane whose batch is out: there are few of those.
    pub(crate) fn take_buffered(&mut self) -> Option<(OwnedRecord, Completed<Ticket>)> {
        let Self { machine, handing_off, .. } = self;
        machine.poll_drained().or_else(|| handing_off.iter().find_map(|lane| machine.poll_lane(*lane)))
    }

    /// Has the backend purge, when it has what is on its way to it now, which is to be purged, too.
    fn purge_backend(&mut self, what: Purged, effects: &mut Effects) {
        if self.handing_off.is_empty() {
            return effects.purge_backend(what);
        }
        let (lanes, all) = self.purge_after.get_or_insert_default();
        lanes.extend(self.handing_off.iter().filter(|lane| !lanes.contains(lane)).copied().collect::<Vec<_>>());
        all.queued |= what.queued;
        all.in_flight |= what.in_flight;
    }

    /// A lane's batch is handed off, and the purge that waited for it is due.
    pub(crate) fn end_hand_off(&mut self, lane: Lane, effects: &mut Effects) {
        self.handing_off.retain(|out| *out != lane);
        if let Some((lanes, _)) = &mut self.purge_after {
            lanes.retain(|out| *out != lane);
        }
        if let Some((_, purged)) = self.purge_after.take_if(|(lanes, _)| lanes.is_empty()) {
            effects.purge_backend(purged);
        }
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
