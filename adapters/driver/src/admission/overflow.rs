//! What happens to a record that finds the pool full.

use std::time::Duration;

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
    /// It waits this long at most, then it is [`ProduceError::Full`](crate::ProduceError::Full).
    WaitFor(Duration),
    /// It is `Full` at once.
    Fail,
    /// The oldest record of the lane that has waited longest fails with [`FailureKind::Dropped`](crate::FailureKind::Dropped), `NotPersisted`, and so
    /// on until there is room, up to 64 of them. Records that were handed to the backend are not dropped, nor is any
    /// dropped for want of a lane: if there is no room then, it is as [`Overflow::DropNewest`].
    DropOldest,
    /// It is accepted and fails at once with [`FailureKind::Dropped`](crate::FailureKind::Dropped), `NotPersisted`: its outcome hands the
    /// record back.
    DropNewest,
}

impl Overflow {
    /// How long a record may wait for room, if there is a limit.
    pub(crate) fn limit(self) -> Option<Duration> {
        if let Self::WaitFor(limit) = self { Some(limit) } else { None }
    }
}
