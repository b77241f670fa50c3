//! What to do with a record that failed: decided here from its status, its kind and its code, and nowhere else.

use core::fmt;

use super::{ErrorCode, Failure, FailureKind, Status};

/// What to do with a record that failed.
///
/// [`Resend`](Self::Resend) and [`ResendAfter`](Self::ResendAfter) promise that sending the record again makes no duplicate. They
/// are the advice for records that are [`Status::NotPersisted`] only. A record with any other status may be doubled by whatever
/// sends it again.
///
/// The promise is as good as the status. One case is known in which librdkafka 2.12 reports a status that is wrong: a broker stops
/// for longer than its session with the cluster, the record's delivery timeout passes meanwhile, and the broker goes on and writes
/// the record. It needs a `transactional.id`: without one, the producer keeps the timeout itself, and reports such a record as possibly
/// persisted.
///
/// It is about one record. A transaction with a record that failed can only be aborted, whatever the advice for the record is.
///
/// ```
/// use aioproducer_core::backend::{Advice, ErrorCode, Failure, FailureKind, Status};
///
/// let code = Some(ErrorCode::NotEnoughReplicas);
/// let failure = Failure::new(FailureKind::Broker, Status::NotPersisted, code, "Broker: Not enough in-sync replicas");
/// assert_eq!(failure.advice(), Advice::ResendAfter);
/// assert_eq!(failure.with_status(Status::PossiblyPersisted).advice(), Advice::CheckLog);
/// assert_eq!(Advice::GiveUp.to_string(), "do not send it again");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Send the record again, at once if you like: it is not in the log, and the cause passes by itself. The producer waits and
    /// retries as it did for the first one, up to the delivery timeout.
    Resend,
    /// Send the record again when the cause is over: it is not in the log, and sent at once it would most likely fail again.
    /// Wait for room in the pool, for a leader, for replicas, for the topic; or have an operator mend what is wrong with a login,
    /// a certificate or a permission. [`Failure::is_retriable`] tells these apart.
    ResendAfter,
    /// Change the record: it is not in the log, and as it is it will never be. It is too large, or names a topic, a partition or a
    /// header that is invalid or does not exist. The alternative is to change the limit, or to create the topic.
    FixRecord,
    /// Start a new producer: this one met a fatal error, was fenced or closed, or its runtime has ended. The record's status
    /// says whether the new one may send it: without a duplicate only if it is [`Status::NotPersisted`].
    RenewProducer,
    /// The record may be in the log ([`Status::PossiblyPersisted`]), so sending it again may double it. Look for it in the log
    /// first, or send it again only if its readers drop or bear duplicates.
    CheckLog,
    /// Do not send the record again: it would fail again, or it is not wanted (a purge removed it), or it is in the log
    /// ([`Status::Persisted`]), or its error is one that is not known here.
    GiveUp,
}

impl Advice {
    /// Every advice.
    pub fn all() -> impl Iterator<Item = Self> {
        use Advice::{CheckLog, FixRecord, GiveUp, RenewProducer, Resend, ResendAfter};
        [Resend, ResendAfter, FixRecord, RenewProducer, CheckLog, GiveUp].into_iter()
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resend => "send it again: it is not in the log, and the cause passes by itself",
            Self::ResendAfter => "send it again when the cause is over: it is not in the log",
            Self::FixRecord => "change the record: as it is, it cannot be written",
            Self::RenewProducer => "start a new producer: this one sends nothing more",
            Self::CheckLog => "look for it in the log before you send it again: it may be there",
            Self::GiveUp => "do not send it again",
        })
    }
}

/// What is to be done about the cause of a failure.
#[derive(Clone, Copy)]
enum Cause {
    /// Nothing: it passes by itself.
    Passing,
    /// It passes by itself, but lasts: it has to be waited for.
    Lasting,
    /// It has to be mended, or it is not said to pass by itself.
    Broken,
    /// The record has to change.
    Record,
    /// The producer has ended.
    Producer,
    /// Nothing can be done, or is to be done.
    Final,
}

impl Failure {
    /// What to do with the record.
    ///
    /// ```
    /// use aioproducer_core::backend::{Advice, Failure, FailureKind, Status};
    ///
    /// let failure = Failure::new(FailureKind::TooLarge, Status::NotPersisted, None, "more than the client accepts");
    /// assert_eq!(failure.advice(), Advice::FixRecord);
    /// ```
    #[must_use]
    pub const fn advice(&self) -> Advice {
        match (self.cause(), self.status) {
            (Cause::Producer, _) => Advice::RenewProducer,
            (_, Status::Persisted) | (Cause::Final, Status::NotPersisted) => Advice::GiveUp,
            (_, Status::PossiblyPersisted) => Advice::CheckLog,
            (Cause::Passing, Status::NotPersisted) => Advice::Resend,
            (Cause::Lasting | Cause::Broken, Status::NotPersisted) => Advice::ResendAfter,
            (Cause::Record, Status::NotPersisted) => Advice::FixRecord,
        }
    }

    /// Whether it makes sense to send the record again as it is, later: it is not in the log, and the cause may pass without
    /// anyone's doing. The [advice](Self::advice) is [`Advice::Resend`] then, or [`Advice::ResendAfter`].
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!((self.status, self.cause()), (Status::NotPersisted, Cause::Passing | Cause::Lasting))
    }

    const fn cause(&self) -> Cause {
        match self.kind {
            FailureKind::TimedOut => Cause::Passing,
            FailureKind::Dropped => Cause::Lasting,
            FailureKind::UnknownTopic => match self.code() {
                Some(ErrorCode::TopicException | ErrorCode::LocalUnknownTopic) => Cause::Record,
                // The topic may be created yet.
                _ => Cause::Lasting,
            },
            FailureKind::TooLarge | FailureKind::UnknownPartition | FailureKind::QueueFull => Cause::Record,
            FailureKind::Authentication | FailureKind::Tls | FailureKind::NotAuthorized => Cause::Broken,
            FailureKind::Fatal | FailureKind::Closed => Cause::Producer,
            FailureKind::Purged | FailureKind::State => Cause::Final,
            FailureKind::Broker => match self.code() {
                Some(code) => cause_of(code),
                None => Cause::Final,
            },
        }
    }
}

/// The table. A code without a row is of a request that sends no record, or says that sending it again cannot help.
const fn cause_of(code: ErrorCode) -> Cause {
    match code {
        ErrorCode::UnknownTopicOrPart
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::ReplicaNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::ConcurrentTransactions
        | ErrorCode::KafkaStorageError
        | ErrorCode::ListenerNotFound
        | ErrorCode::PreferredLeaderNotAvailable
        | ErrorCode::EligibleLeadersNotAvailable
        | ErrorCode::ThrottlingQuotaExceeded
        | ErrorCode::UnknownTopicId
        | ErrorCode::LocalResolve
        | ErrorCode::LocalAllBrokersDown
        | ErrorCode::LocalQueueFull
        | ErrorCode::LocalWaitCoord => Cause::Lasting,

        ErrorCode::BrokerNotAvailable
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::UnsupportedSaslMechanism
        | ErrorCode::IllegalSaslState
        | ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::SecurityDisabled
        | ErrorCode::LogDirNotFound
        | ErrorCode::SaslAuthenticationFailed
        | ErrorCode::DelegationTokenAuthDisabled
        | ErrorCode::DelegationTokenNotFound
        | ErrorCode::DelegationTokenOwnerMismatch
        | ErrorCode::DelegationTokenRequestNotAllowed
        | ErrorCode::DelegationTokenAuthorizationFailed
        | ErrorCode::DelegationTokenExpired
        | ErrorCode::RebootstrapRequired
        | ErrorCode::LocalAuthentication
        | ErrorCode::LocalSsl
        | ErrorCode::LocalIsrInsuff
        | ErrorCode::LocalCritSysResource
        | ErrorCode::LocalFail => Cause::Broken,

        ErrorCode::InvalidMsgSize
        | ErrorCode::MsgSizeTooLarge
        | ErrorCode::TopicException
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidTimestamp
        | ErrorCode::PolicyViolation
        | ErrorCode::InvalidRecord
        | ErrorCode::LocalValueSerialization
        | ErrorCode::LocalKeySerialization
        | ErrorCode::LocalInvalidArg
        | ErrorCode::LocalUnknownTopic
        | ErrorCode::LocalUnknownPartition => Cause::Record,

        ErrorCode::OutOfOrderSequenceNumber
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::InvalidTransactionTimeout
        | ErrorCode::UnknownProducerId
        | ErrorCode::ProducerFenced
        | ErrorCode::LocalFenced
        | ErrorCode::LocalGaplessGuarantee
        | ErrorCode::LocalInconsistent
        | ErrorCode::LocalFatal
        | ErrorCode::LocalDestroy => Cause::Producer,

        code if code.is_retriable() => Cause::Passing,
        _ => Cause::Final,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    /// Every kind with every code, a code that has no name here, and none.
    fn failures(status: Status) -> impl Iterator<Item = Failure> {
        let codes = || ErrorCode::all().chain([ErrorCode::new(9_999)]).map(Some).chain([None]);
        FailureKind::all().flat_map(move |kind| codes().map(move |code| Failure::new(kind, status, code, "")))
    }

    fn advice(kind: FailureKind, code: Option<ErrorCode>) -> Advice {
        Failure::new(kind, Status::NotPersisted, code, "").advice()
    }

    #[test]
    fn s44_only_what_is_not_in_the_log_is_to_be_sent_again() {
        for failure in Status::all().flat_map(failures) {
            let expected: &[Advice] = match failure.status {
                _ if failure.advice() == Advice::RenewProducer => continue,
                Status::NotPersisted => &[Advice::Resend, Advice::ResendAfter, Advice::FixRecord, Advice::GiveUp],
                Status::PossiblyPersisted => &[Advice::CheckLog],
                Status::Persisted => &[Advice::GiveUp],
            };
            assert!(expected.contains(&failure.advice()), "{failure:?}: {:?}", failure.advice());
        }
    }

    #[test]
    fn s44_a_producer_that_has_ended_is_to_be_renewed_whatever_became_of_the_record() {
        for failure in failures(Status::NotPersisted) {
            let advices: Vec<_> = Status::all().map(|status| failure.with_status(status).advice()).collect();
            let renewed = advices.iter().filter(|advice| **advice == Advice::RenewProducer).count();
            assert!(renewed == 0 || renewed == advices.len(), "{failure:?}: {advices:?}");
            let has_ended = matches!(failure.kind, FailureKind::Fatal | FailureKind::Closed);
            assert!(!has_ended || renewed > 0, "{failure:?}: {advices:?}");
        }
        for code in [ErrorCode::ProducerFenced, ErrorCode::LocalFenced, ErrorCode::LocalFatal] {
            assert_eq!(advice(FailureKind::Broker, Some(code)), Advice::RenewProducer, "{code}");
        }
    }

    #[test]
    fn s44_what_is_retriable_is_to_be_sent_again_and_the_rest_of_that_is_broken() {
        for failure in Status::all().flat_map(failures) {
            let advice = failure.advice();
            let again = matches!(advice, Advice::Resend | Advice::ResendAfter);
            assert!(again || !failure.is_retriable(), "{failure:?}: {advice:?}");
            assert!(advice != Advice::Resend || failure.is_retriable(), "{failure:?}: {advice:?}");
            let is_broken = matches!(
                (failure.kind, failure.code()),
                (FailureKind::Authentication | FailureKind::Tls | FailureKind::NotAuthorized, _)
                    | (FailureKind::Broker, Some(_))
            );
            assert!(!again || failure.is_retriable() || is_broken, "{failure:?}: {advice:?}");
        }
    }

    #[test]
    fn s44_a_code_is_retriable_as_the_failure_that_has_nothing_else_is() {
        for code in ErrorCode::all() {
            let failure = Failure::new(FailureKind::Broker, Status::NotPersisted, Some(code), "");
            assert_eq!(failure.is_retriable(), code.is_retriable(), "{code}");
        }
    }

    #[test]
    fn s44_each_kind_without_a_code_has_its_advice() {
        for kind in FailureKind::all() {
            let expected = match kind {
                FailureKind::TimedOut => Advice::Resend,
                FailureKind::Dropped
                | FailureKind::UnknownTopic
                | FailureKind::Authentication
                | FailureKind::Tls
                | FailureKind::NotAuthorized => Advice::ResendAfter,
                FailureKind::TooLarge | FailureKind::UnknownPartition | FailureKind::QueueFull => Advice::FixRecord,
                FailureKind::Fatal | FailureKind::Closed => Advice::RenewProducer,
                FailureKind::Purged | FailureKind::State | FailureKind::Broker => Advice::GiveUp,
            };
            assert_eq!(advice(kind, None), expected, "{kind:?}");
        }
        let missing = advice(FailureKind::UnknownTopic, Some(ErrorCode::LocalUnknownTopic));
        assert_eq!(missing, Advice::FixRecord, "the client library has waited for the topic already");
    }

    #[test]
    fn lists_are_complete_and_texts_differ() {
        // Each list is in the order of its type, whose last value is named here.
        assert!(FailureKind::all().enumerate().all(|(at, kind)| kind as usize == at));
        assert!(Status::all().enumerate().all(|(at, status)| status as usize == at));
        assert!(Advice::all().enumerate().all(|(at, advice)| advice as usize == at));
        let last = (FailureKind::all().last(), Status::all().last(), Advice::all().last());
        assert_eq!(last, (Some(FailureKind::Broker), Some(Status::Persisted), Some(Advice::GiveUp)));
        let mut texts: Vec<_> = Advice::all().map(|advice| advice.to_string()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Advice::all().count());
    }
}
