//! Why records fail, and problems that keep them from being delivered.

use alloc::sync::Arc;
use core::fmt;

use super::ErrorCode;

/// Whether a failed record is in the log (`rd_kafka_message_status`).
///
/// ```
/// use aioproducer_core::backend::Status;
///
/// /// Whether to send the record again makes no duplicate.
/// fn is_safe_to_repeat(status: Status) -> bool {
///     status == Status::NotPersisted
/// }
/// assert!(!is_safe_to_repeat(Status::PossiblyPersisted));
/// assert_eq!(Status::PossiblyPersisted.to_string(), "possibly in the log");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It was never sent, or the broker rejected it: sending it again makes no duplicate.
    NotPersisted,
    /// It was sent, and no answer arrived: it may be in the log.
    PossiblyPersisted,
    /// The broker has written it, but the producer cannot report it as delivered.
    Persisted,
}

impl Status {
    /// Every status.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::NotPersisted, Self::PossiblyPersisted, Self::Persisted].into_iter()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPersisted => "not in the log",
            Self::PossiblyPersisted => "possibly in the log",
            Self::Persisted => "in the log",
        })
    }
}

/// What went wrong with a record, for deciding what to do.
///
/// ```
/// use aioproducer_core::backend::FailureKind;
///
/// /// Whether somebody has to be called.
/// fn is_for_the_operator(kind: FailureKind) -> bool {
///     matches!(kind, FailureKind::Authentication | FailureKind::Tls | FailureKind::NotAuthorized | FailureKind::Fatal)
/// }
/// assert!(!is_for_the_operator(FailureKind::TimedOut));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The delivery timeout passed.
    TimedOut,
    /// The record is larger than the client or the broker accepts.
    TooLarge,
    /// The topic does not exist.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// A purge removed the record.
    Purged,
    /// The pool was full, and the overflow policy dropped the record.
    Dropped,
    /// The producer was closed or dropped, or its runtime ended, before the record was delivered.
    Closed,
    /// The record alone exceeds the capacity of the backend's queue.
    QueueFull,
    /// The producer met a fatal error.
    Fatal,
    /// The state of the producer or of its transaction does not allow it.
    State,
    /// The brokers reject the credentials (SASL).
    Authentication,
    /// A secure connection (TLS) cannot be established.
    Tls,
    /// The user lacks a permission: to write to the topic, to be idempotent, or to use the transactional id.
    NotAuthorized,
    /// Any other error of the broker or the client library; see [`Failure::code`].
    Broker,
}

impl FailureKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::TimedOut,
            Self::TooLarge,
            Self::UnknownTopic,
            Self::UnknownPartition,
            Self::Purged,
            Self::Dropped,
            Self::Closed,
            Self::QueueFull,
            Self::Fatal,
            Self::State,
            Self::Authentication,
            Self::Tls,
            Self::NotAuthorized,
            Self::Broker,
        ]
        .into_iter()
    }
}

/// Why a record failed, and whether it is in the log all the same.
///
/// ```
/// use aioproducer_core::backend::{ErrorCode, Failure, FailureKind, Status};
///
/// let code = Some(ErrorCode::NotEnoughReplicas);
/// let failure = Failure::new(FailureKind::Broker, Status::NotPersisted, code, "Broker: Not enough in-sync replicas");
/// assert_eq!(failure.code(), code);
/// assert_eq!(failure.to_string(), "Broker: Not enough in-sync replicas");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// Whether the record is in the log.
    pub status: Status,
    /// 0 for none: it passes through a ring of records' outcomes, where size counts.
    code: i32,
    /// What went wrong, in words: the backend's description of the code, if there is one.
    pub reason: &'static str,
}

impl Failure {
    /// A failure. A code of [`ErrorCode::NoError`] is none.
    #[must_use]
    pub const fn new(kind: FailureKind, status: Status, code: Option<ErrorCode>, reason: &'static str) -> Self {
        Self { kind, status, code: ErrorCode::compact(code), reason }
    }

    /// The error of the broker or the client library, `None` if the producer itself failed the record.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        ErrorCode::from_compact(self.code)
    }

    /// The same of another kind.
    #[must_use]
    pub const fn with_kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same of a record with another status.
    #[must_use]
    pub const fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl core::error::Error for Failure {}

/// A problem that keeps records from being delivered at the moment. It is the cause of records that time out meanwhile.
///
/// ```
/// use aioproducer_core::backend::{FailureKind, Trouble};
///
/// let trouble = Trouble { kind: FailureKind::TimedOut, reason: "0 of 3 brokers reachable".into() };
/// assert_eq!(&*trouble.reason, "0 of 3 brokers reachable");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The kind of failure of records that time out, if it is more specific than [`FailureKind::TimedOut`].
    pub kind: FailureKind,
    /// The cause in words, without secrets, such as the number of reachable brokers and the last error.
    pub reason: Arc<str>,
}

/// The severity of a line for the application's operator.
///
/// ```
/// use aioproducer_core::backend::Severity;
///
/// assert!(Severity::Error > Severity::Warning);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work as intended; the producer continues.
    Warning,
    /// Records fail, or will fail.
    Error,
}
