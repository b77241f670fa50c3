//! What the application asks for.

use std::time::Duration;

/// What happens when librdkafka's client has met a fatal error; see [`Librdkafka::on_fatal`](crate::Librdkafka::on_fatal).
///
/// ```
/// use aioproducer_rdkafka::OnFatal;
///
/// assert_eq!(OnFatal::default(), OnFatal::End);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFatal {
    /// The producer rejects records from then on.
    #[default]
    End,
    /// The client is replaced by a new one.
    Renew,
}

/// What happens when a partition makes no progress although its leader is connected; see
/// [`Librdkafka::on_stall`](crate::Librdkafka::on_stall).
///
/// ```
/// use aioproducer_rdkafka::OnStall;
///
/// assert_eq!(OnStall::default(), OnStall::Wait);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStall {
    /// Its records wait until it does, or until their delivery timeout.
    #[default]
    Wait,
    /// The client is replaced by a new one.
    Renew {
        /// How long the partition has had no answer; not zero. After each such renewal that comes soon after another one, twice as
        /// long as before, up to 16 times.
        after: Duration,
    },
}

/// Both policies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) on_fatal: OnFatal,
    pub(crate) on_stall: OnStall,
}

impl Policy {
    /// Whether a client is ever renewed.
    pub(crate) fn renews(&self) -> bool {
        self.on_fatal == OnFatal::Renew || self.on_stall != OnStall::Wait
    }

    /// Why the policy cannot be kept.
    pub(crate) fn refusal(&self, is_transactional: bool, is_adaptive: bool) -> Option<&'static str> {
        let (renews, stall) = (self.renews(), self.stall());
        if renews && is_transactional {
            Some(
                "a producer with a `transactional.id` cannot be renewed, as its transaction would be lost: leave the policy out",
            )
        } else if stall.is_some_and(|after| after.is_zero()) {
            Some("`OnStall::Renew` with a time of zero would renew the client all the time: use a longer one")
        } else if stall.is_some() && !is_adaptive {
            Some(
                "`OnStall::Renew` needs `partitioner.adaptive.partitioning.enable=true`, without which it is not known which partitions \
                 answer",
            )
        } else {
            None
        }
    }

    /// How long a partition may have no answer.
    pub(crate) fn stall(&self) -> Option<Duration> {
        match self.on_stall {
            OnStall::Wait => None,
            OnStall::Renew { after } => Some(after),
        }
    }
}
