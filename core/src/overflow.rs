//! What happens to a record that finds the pool full: the policy.

use core::time::Duration;

/// What becomes of a record that finds no room in the pool, or others waiting for it.
///
/// ```
/// use aioproducer_core::{Limits, Overflow};
///
/// // A sensor's latest readings are worth more than its oldest ones.
/// let limits = Limits { overflow: Overflow::DropOldest, ..Limits::default() };
/// # assert_ne!(limits.overflow, Overflow::default());
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It waits, first come, first served.
    #[default]
    Wait,
    /// It waits for so long at most, then it is `Full`.
    WaitFor(Duration),
    /// It is refused at once: as [`Full`](crate::Refusal::Full), or [`LaneFull`](crate::Refusal::LaneFull) if only its lane may not
    /// have more.
    Fail,
    /// The oldest record of the lane that has waited longest makes way, and one that waits for credit before others: it fails, and
    /// is not in the log. So do others until there is room, up to 64 of them. A lane that has its share makes room for itself. Records that were handed off do not make way, nor does any for want of a lane: if
    /// there is no room then, it is as with [`Overflow::DropNewest`].
    DropOldest,
    /// It is accepted and fails at once. It is not in the log.
    DropNewest,
}

/// Why a record waits for room no longer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitEnd {
    /// It waited for as long as [`Overflow::WaitFor`] allows.
    Policy,
    /// Its own timeout or the delivery timeout has passed.
    Own,
}

impl Overflow {
    /// How long a record may wait for room, and what ends its wait then: the policy's limit or the record's own timeout,
    /// whichever is shorter. `None` if it may wait until the delivery timeout.
    ///
    /// ```
    /// use aioproducer_core::{Overflow, WaitEnd};
    /// use core::time::Duration;
    ///
    /// let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
    /// assert_eq!(Overflow::WaitFor(short).wait_limit(Some(long)), Some((short, WaitEnd::Policy)));
    /// assert_eq!(Overflow::Wait.wait_limit(Some(long)), Some((long, WaitEnd::Own)));
    /// assert_eq!(Overflow::Wait.wait_limit(None), None);
    /// ```
    #[must_use]
    pub fn wait_limit(self, own: Option<Duration>) -> Option<(Duration, WaitEnd)> {
        let policy = if let Self::WaitFor(limit) = self { Some(limit) } else { None };
        match (policy, own) {
            (Some(policy), Some(own)) if policy < own => Some((policy, WaitEnd::Policy)),
            (_, Some(own)) => Some((own, WaitEnd::Own)),
            (Some(policy), None) => Some((policy, WaitEnd::Policy)),
            (None, None) => None,
        }
    }
}
