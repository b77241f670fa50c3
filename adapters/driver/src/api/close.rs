//! An orderly end, and what it could not send.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aioproducer_core::Phase;

use crate::callbacks::is_inside_callback;
use crate::observe::CallSpan;
use crate::outcome::unsent::Unsent;
use crate::runtime::poll_turn;
use crate::state::shared::Shared;

/// The future of [`AioProducer::close`](crate::AioProducer::close). Once polled, the close goes on even if this is
/// dropped.
///
/// ```
/// # use aioproducer_driver::AioProducer;
/// # use std::time::Duration;
/// async fn shut_down(producer: &AioProducer) -> bool {
///     producer.close(Duration::from_secs(10)).await.is_complete()
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Close<'a> {
    shared: &'a Shared,
    within: Duration,
    begun: bool,
    trace: CallSpan,
}

impl<'a> Close<'a> {
    pub(crate) fn new(shared: &'a Shared, within: Duration) -> Self {
        Self { shared, within, begun: false, trace: CallSpan::default() }
    }
}

/// Unsent records that the list of them has room for from the start. To move it when it grows takes a lock's time.
const FORESEEN: usize = 1 << 16;

impl Future for Close<'_> {
    type Output = CloseReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReport> {
        let shared = self.shared;
        if !self.begun {
            ready!(poll_turn(&*shared.runtime, cx));
        }
        self.trace.close();
        let begin = !std::mem::replace(&mut self.begun, true);
        let now = shared.runtime.now();
        let deadline = now + self.within;
        let mut waker = Some(cx.waker().clone());
        let report = shared.with(|state, effects| {
            let unsent = state.machine.len().min(FORESEEN);
            state.unsent.get_or_insert_with(|| Vec::with_capacity(unsent));
            match state.machine.phase() {
                Phase::Open => {
                    state.prepare_close(shared, effects);
                    state.machine.close(now, self.within);
                    state.close_by = deadline;
                    effects.wakers.extend(state.driver.take());
                }
                Phase::Closing(earlier) if begin && deadline < earlier => {
                    state.machine.close(now, self.within);
                    state.close_by = deadline;
                    effects.wakers.extend(state.driver.take());
                }
                Phase::Closing(_) => {}
                Phase::Ending | Phase::Ended if begin && state.close_by < deadline => {
                    state.close_by = deadline;
                    effects.wakers.extend(state.driver.take());
                }
                Phase::Ending | Phase::Ended => {}
            }
            match state.machine.phase() {
                Phase::Ended
                    if is_inside_callback() || state.close_by <= now || shared.callbacks.is_idle_or_notifies() =>
                {
                    let unsent = state.unsent.replace(Vec::new()).unwrap_or_default();
                    let unreturned = std::mem::take(&mut state.unreturned);
                    return Poll::Ready(CloseReport { unsent, unreturned });
                }
                _ => {}
            }
            if !state.close_wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.close_wakers.extend(waker.take());
            }
            Poll::Pending
        });
        if let Poll::Ready(report) = &report {
            self.trace.closed(report.unsent.len());
        }
        report
    }
}

impl fmt::Debug for Close<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Close").field("within", &self.within).finish_non_exhaustive()
    }
}

/// What a close could not deliver. The records are handed out once: a second close reports none.
///
/// ```
/// # use aioproducer_driver::{CloseReport, Record, error::Status};
/// /// The records that can be written elsewhere without a duplicate.
/// fn to_keep(report: CloseReport) -> Vec<Record<'static>> {
///     let unsent = report.into_unsent().into_iter();
///     unsent.filter(|unsent| unsent.status == Status::NotPersisted).map(|unsent| unsent.record).collect()
/// }
/// ```
#[derive(Debug, Default)]
pub struct CloseReport {
    unsent: Vec<Unsent>,
    unreturned: usize,
}

impl CloseReport {
    /// The records that were accepted and not delivered before the deadline, oldest first within a lane.
    #[must_use]
    pub fn unsent(&self) -> &[Unsent] {
        &self.unsent
    }

    /// The records of [`CloseReport::unsent`].
    #[must_use]
    pub fn into_unsent(self) -> Vec<Unsent> {
        self.unsent
    }

    /// How many more records were not delivered, which the backend could not give back in time: librdkafka has copies of short
    /// ones, and may not let go of them when it is busy. Their deliveries have failed, with a status.
    #[must_use]
    pub fn unreturned(&self) -> usize {
        self.unreturned
    }

    /// Whether every accepted record had its outcome before the deadline.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unsent.is_empty() && self.unreturned == 0
    }
}
