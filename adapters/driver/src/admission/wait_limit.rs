//! How long a record waits for room.

use std::fmt;
use std::task::Context;
use std::time::Duration;

use aioproducer_core::{Instant, Overflow, WaitEnd};

use super::error::ProduceError;
use crate::record::Record;
use crate::runtime::{Runtime, Task};

/// How long a record may wait for room: as long as the overflow policy says, and no longer than its own timeout and the delivery
/// timeout.
#[derive(Default)]
pub(crate) struct WaitLimit {
    /// When the wait began, if it did.
    since: Option<Instant>,
    /// Most records wait for nothing but the delivery timeout, which the driver task keeps.
    timer: Option<Box<(Instant, Task)>>,
}

/// The error of a record that no longer waits.
pub(crate) fn wait_error(end: WaitEnd, record: Record<'_>) -> ProduceError<'_> {
    match end {
        WaitEnd::Own => ProduceError::TimedOut(record),
        _ => ProduceError::Full(record),
    }
}

impl WaitLimit {
    /// The record waits, at the latest from `now` on; returns since when.
    pub(crate) fn begin(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now)
    }

    /// Whether a waiting record has waited as long as the policy says, or as its timeout. To be called at each poll. The task is
    /// woken for its `own` timeout and the policy's limit; for the delivery timeout the driver task wakes it.
    pub(crate) fn is_over(
        &mut self,
        runtime: &dyn Runtime,
        policy: Overflow,
        own: Option<Duration>,
        delivery_timeout: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Option<WaitEnd> {
        let since = match self.since {
            Some(since) => since,
            None => self.begin(runtime.now()),
        };
        if let Some((limit, end)) = policy.wait_limit(own) {
            let at = since + limit;
            let armed = self.timer.take().filter(|timer| timer.0 == at);
            let timer = self.timer.insert(armed.unwrap_or_else(|| Box::new((at, runtime.sleep_until(at)))));
            if timer.1.as_mut().poll(cx).is_ready() {
                return Some(end);
            }
        }
        delivery_timeout.filter(|timeout| since + *timeout <= runtime.now()).map(|_| WaitEnd::Own)
    }

    /// When the wait began: the record's time runs from there.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Begins anew, for another record.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl fmt::Debug for WaitLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitLimit").field("since", &self.since).finish()
    }
}
