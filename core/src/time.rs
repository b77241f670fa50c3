//! Time as an argument: the machine never reads a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment on the caller's monotonic clock, in nanoseconds since an origin of the caller's choice.
///
/// Arithmetic saturates, so "never" is an ordinary value ([`Instant::MAX`], about 584 years after the origin).
///
/// ```
/// use aioproducer_core::Instant;
/// use core::time::Duration;
///
/// let start = Instant::from_nanos(5);
/// assert_eq!((start + Duration::from_nanos(7)).as_nanos(), 12);
/// assert_eq!(start + Duration::MAX, Instant::MAX);
/// assert_eq!(start - Instant::MAX, Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than anything a clock will read: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `elapsed` after the origin, [`Instant::MAX`] if that is too late to be represented.
    #[must_use]
    pub fn after_origin(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(Self::after_origin(by).0))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The time from `earlier` to `self`, zero if `earlier` is the later one.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// The moment `by` before, the origin at the earliest.
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(Self::after_origin(by).0))
    }
}
