//! The event of a client that was replaced.

use std::fmt;
use std::time::Duration;

use aioproducer_core::backend::Failure;

/// librdkafka's client was replaced by a new one.
///
/// ```
/// use aioproducer_rdkafka::{Event, RenewalCause};
///
/// fn count(event: &Event) -> Option<(&'static str, usize)> {
///     let Event::Renewed(renewed) = event else { return None };
///     match renewed.cause {
///         RenewalCause::Fatal(_) => Some(("kafka.renewed.fatal", renewed.handed_back)),
///         _ => Some(("kafka.renewed", renewed.handed_back)),
///     }
/// }
/// # assert_eq!(count(&Event::Lost { count: 1 }), None);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Why.
    pub cause: RenewalCause,
    /// Records that the old client had not sent. The new one has them, in their order, and their deliveries are still open.
    pub resent: usize,
    /// Records that the old client had sent without an answer. They have ended as possibly persisted.
    pub handed_back: usize,
    /// From the cause to the time when the new client has all records that are sent again.
    pub took: Duration,
}

/// Why a client was replaced.
///
/// ```
/// use aioproducer_rdkafka::RenewalCause;
///
/// let stall = RenewalCause::Stall { topic: "orders".into(), partition: 3 };
/// assert_eq!(stall.to_string(), "partition 3 of `orders` has made no progress");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenewalCause {
    /// It has met this fatal error.
    Fatal(Failure),
    /// A partition has made no progress for so long as [`OnStall::Renew`](crate::OnStall::Renew) says.
    Stall {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
}

impl fmt::Display for RenewalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fatal(failure) => write!(f, "fatal error: {failure}"),
            Self::Stall { topic, partition } => write!(f, "partition {partition} of `{topic}` has made no progress"),
        }
    }
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, resent, handed_back, took } = self;
        write!(
            f,
            "the client was replaced by a new one, which took {took:?}: {cause}; {resent} records are sent again, {handed_back} have \
             ended as possibly persisted"
        )
    }
}
