//! What happens to a record that finds the pool full.

use std::fmt;
use std::task::Context;
use std::time::Duration;

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_core::{Instant, Lane};

use crate::api::error::ProduceError;
use crate::record::Record;
use crate::runtime::Task;
use crate::state::effects::Effects;
use crate::state::shared::{Shared, State};

/// What becomes of a record that finds no room in the pool, or others waiting for it.
///
/// [`try_produce`](crate::AioProducer::try_produce) never waits: with a policy that would, it is `Full`. A record with a
/// callback is `Full`, too, when callbacks are so far behind that there is no place for another, unless the policy waits.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Builder, Overflow};
/// # use std::time::Duration;
/// /// For a service that answers a request soon, whatever its pool.
/// fn settings<B>(backend: B) -> Builder<B> {
///     AioProducer::builder(backend).overflow(Overflow::WaitFor(Duration::from_millis(50)))
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It waits, first come, first served.
    #[default]
    Wait,
    /// It waits for so long at most, then it is [`ProduceError::Full`](crate::ProduceError::Full).
    WaitFor(Duration),
    /// It is `Full` at once.
    Fail,
    /// The oldest record of the lane that has waited longest fails with [`FailureKind::Dropped`], `NotPersisted`, and so
    /// on until there is room, up to 64 of them. Records that were handed to the backend are not dropped, nor is any
    /// dropped for want of a lane: if there is no room then, it is as [`Overflow::DropNewest`].
    DropOldest,
    /// It is accepted and fails at once with [`FailureKind::Dropped`], `NotPersisted`: its outcome hands the
    /// record back.
    DropNewest,
}

/// Records that make way for one, at most: neither a lock nor a runtime's thread is held for long.
const EVICTED: usize = 64;

/// The failure of a record that was dropped because the pool was full.
pub(crate) const DROPPED: Failure = Failure::new(
    FailureKind::Dropped,
    Status::NotPersisted,
    None,
    "the pool was full, and the overflow policy is to drop records",
);

impl State {
    /// Fails records that were not handed off until there is room for one more; whether there is.
    pub(crate) fn make_room(&mut self, shared: &Shared, lane: Lane, size: usize, effects: &mut Effects) -> bool {
        let room = self.machine.room();
        if room.slots > 0 && room.bytes >= size {
            // What is short is lanes, and a record that makes way need not leave one.
            return self.machine.has_room(lane, size);
        }
        for _ in 0..EVICTED {
            if self.machine.has_room(lane, size) {
                return true;
            }
            let Some((record, ended)) = self.machine.poll_drained() else { return false };
            self.dropped += 1;
            self.fail(shared, ended, DROPPED, Some(record), effects);
        }
        self.machine.has_room(lane, size)
    }
}

impl Overflow {
    /// How long a record may wait for room, if there is a limit.
    pub(crate) fn limit(self) -> Option<Duration> {
        if let Self::WaitFor(limit) = self { Some(limit) } else { None }
    }
}

/// How long a record may still wait for room: as long as the overflow policy says, and no longer than its own timeout.
#[derive(Default)]
pub(crate) struct Patience(
    /// Most records do not wait, and are small.
    Option<Box<Wait>>,
);

struct Wait {
    since: Instant,
    timer: Option<(Instant, Task)>,
}

/// Why a record waits no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It was long enough for the overflow policy.
    Policy,
    /// The record's own timeout has passed.
    Own,
}

impl Over {
    pub(crate) fn error(self, record: Record<'_>) -> ProduceError<'_> {
        match self {
            Self::Policy => ProduceError::Full(record),
            Self::Own => ProduceError::TimedOut(record),
        }
    }
}

impl Patience {
    /// Whether a record that waits has waited for long enough: as long as the policy says, or as its own timeout. To be asked
    /// each time that it waits on.
    pub(crate) fn is_over(
        &mut self,
        shared: &Shared,
        policy: Option<Duration>,
        own: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Option<Over> {
        let (limit, over) = match (policy, own) {
            (Some(policy), Some(own)) if policy < own => (policy, Over::Policy),
            (_, Some(own)) => (own, Over::Own),
            (Some(policy), None) => (policy, Over::Policy),
            (None, None) => return None,
        };
        let wait = self.0.get_or_insert_with(|| Box::new(Wait { since: shared.runtime.now(), timer: None }));
        let at = wait.since + limit;
        let armed = wait.timer.take().filter(|(armed, _)| *armed == at);
        let (_, timer) = wait.timer.insert(armed.unwrap_or_else(|| (at, shared.runtime.sleep_until(at))));
        timer.as_mut().poll(cx).is_ready().then_some(over)
    }

    /// Since when the record waits, if it has to be known: its own timeout runs from there.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.0.as_ref().map(|wait| wait.since)
    }

    /// The record waits no more.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("waits", &self.0.is_some()).finish()
    }
}
