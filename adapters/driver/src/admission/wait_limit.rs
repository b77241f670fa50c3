//! How long a record waits for room.

use std::fmt;
use std::task::Context;
use std::time::Duration;

use aioproducer_core::{Instant, Overflow, WaitEnd};

use super::error::ProduceError;
use crate::record::Record;
use crate::runtime::{Runtime, Task};

/// How long a record may wait for room: as long as the overflow policy says, and no longer than its own timeout.
#[derive(Default)]
pub(crate) struct WaitLimit(
    /// Most records do not wait, and are small.
    Option<Box<Wait>>,
);

struct Wait {
    since: Instant,
    timer: Option<(Instant, Task)>,
}

/// The error of a record that no longer waits.
pub(crate) fn wait_error(end: WaitEnd, record: Record<'_>) -> ProduceError<'_> {
    match end {
        WaitEnd::Own => ProduceError::TimedOut(record),
        _ => ProduceError::Full(record),
    }
}

impl WaitLimit {
    /// Whether a waiting record has waited as long as the policy says, or as its own timeout. To be called at each poll.
    pub(crate) fn is_over(
        &mut self,
        runtime: &dyn Runtime,
        policy: Overflow,
        own: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Option<WaitEnd> {
        let (limit, end) = policy.wait_limit(own)?;
        let wait = self.0.get_or_insert_with(|| Box::new(Wait { since: runtime.now(), timer: None }));
        let at = wait.since + limit;
        let armed = wait.timer.take().filter(|(armed, _)| *armed == at);
        let (_, timer) = wait.timer.insert(armed.unwrap_or_else(|| (at, runtime.sleep_until(at))));
        timer.as_mut().poll(cx).is_ready().then_some(end)
    }

    /// When the wait began, if that matters: the record's own timeout runs from there.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.0.as_ref().map(|wait| wait.since)
    }

    /// Begins anew, for another record.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl fmt::Debug for WaitLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitLimit").field("waits", &self.0.is_some()).finish()
    }
}
