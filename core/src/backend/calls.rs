//! Broker calls: transactions, metadata, credentials.
//!
//! The driver requests a call with [`Backend::call`](super::Backend::call), which returns at once. The backend completes it with
//! [`Driver::complete_call`](super::Driver::complete_call). The driver requests one transactional call at a time, and one other
//! call.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{ErrorCode, Metadata};
use crate::TopicId;

/// Identifies a call. A producer uses each id once.
///
/// ```
/// use aioproducer_core::backend::CallId;
///
/// assert_ne!(CallId(1), CallId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

/// A call that the driver requests.
///
/// ```
/// use std::time::Duration;
///
/// use aioproducer_core::backend::{Call, CallId, Request};
///
/// let request = Request { id: CallId(1), call: Call::Commit, limit: Duration::from_secs(60) };
/// assert!(request.call.is_transactional());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The id, for [`Driver::complete_call`](super::Driver::complete_call).
    pub id: CallId,
    /// The call to make.
    pub call: Call,
    /// After this time the backend completes the call with an error that is [`CallError::is_retriable`]. A call under way may take
    /// a little longer.
    pub limit: Duration,
}

impl Call {
    /// Whether the call belongs to transactions. Such calls are made one after another, and other calls do not delay them.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        match self {
            Self::InitTransactions | Self::Begin | Self::SendOffsets { .. } | Self::Commit | Self::Abort => true,
            Self::Metadata { .. } | Self::Ready { .. } | Self::SetSaslCredentials(_) => false,
        }
    }
}

/// A broker call.
///
/// ```
/// use aioproducer_core::backend::Call;
///
/// assert!(Call::Abort.is_transactional());
/// assert!(!Call::Metadata { topic: Some("orders".into()) }.is_transactional());
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Gets a producer id for the transactional id, and ends the transactions of earlier producers with that id
    /// (`rd_kafka_init_transactions`).
    InitTransactions,
    /// Begins a transaction (`rd_kafka_begin_transaction`).
    Begin,
    /// Adds consumer offsets to the transaction (`rd_kafka_send_offsets_to_transaction`).
    SendOffsets {
        /// The offsets; never empty.
        offsets: Vec<GroupOffset>,
        /// The consumer group of the offsets.
        group: Group,
    },
    /// Commits the transaction, whose records all have their outcome (`rd_kafka_commit_transaction`). After an error that is
    /// [`CallError::is_retriable`], only this call may follow; it resumes the commit.
    Commit,
    /// Aborts the transaction (`rd_kafka_abort_transaction`). Records that the backend has not sent fail with
    /// [`FailureKind::Purged`](super::FailureKind::Purged); records in flight are awaited.
    Abort,
    /// Requests metadata of the cluster (`rd_kafka_metadata`).
    Metadata {
        /// The topic; `None` for all topics.
        topic: Option<String>,
    },
    /// Waits until records can be delivered at once: there is a producer id, and for each topic its partitions and a connection
    /// to each leader.
    Ready {
        /// The topics; without any, the call waits for a broker only.
        topics: Vec<TopicId>,
    },
    /// Sets the credentials for new connections (`rd_kafka_sasl_set_credentials`).
    SetSaslCredentials(Credentials),
}

/// The answer of a successful call.
///
/// ```
/// use aioproducer_core::backend::{Answer, CallError};
///
/// fn is_done(outcome: &Result<Answer, CallError>) -> bool {
///     matches!(outcome, Ok(Answer::Done))
/// }
/// assert!(is_done(&Ok(Answer::Done)));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call is done.
    Done,
    /// The answer of [`Call::Metadata`].
    Metadata(Metadata),
}

/// Why a call failed: the fields of librdkafka's `rd_kafka_error_t`.
///
/// ```
/// use aioproducer_core::backend::{CallError, ErrorCode};
///
/// let error = CallError::new(Some(ErrorCode::LocalTimedOut), "no broker answered").with_retriable(true);
/// assert!(error.is_retriable() && !error.is_fatal());
/// assert_eq!(error.code(), Some(ErrorCode::LocalTimedOut));
/// assert_eq!(error.to_string(), "no broker answered");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    code: Option<ErrorCode>,
    reason: String,
    retriable: bool,
    requires_abort: bool,
    fatal: bool,
}

impl CallError {
    /// An error after which the call is not worth another try, and all else goes on.
    #[must_use]
    pub fn new(code: Option<ErrorCode>, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), retriable: false, requires_abort: false, fatal: false }
    }

    /// The error of the broker or the client library, `None` if the producer itself rejected the call.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the same call may be made again. A transactional call is resumed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Whether the transaction must be aborted.
    #[must_use]
    pub fn requires_abort(&self) -> bool {
        self.requires_abort
    }

    /// Whether the producer is unusable. The backend also calls [`Driver::fatal`](super::Driver::fatal), before or after.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// The same with another description.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets [`CallError::is_retriable`].
    #[must_use]
    pub fn with_retriable(mut self, retriable: bool) -> Self {
        self.retriable = retriable;
        self
    }

    /// Sets [`CallError::requires_abort`].
    #[must_use]
    pub fn with_requires_abort(mut self, requires_abort: bool) -> Self {
        self.requires_abort = requires_abort;
        self
    }

    /// Sets [`CallError::is_fatal`].
    #[must_use]
    pub fn with_fatal(mut self, fatal: bool) -> Self {
        self.fatal = fatal;
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl core::error::Error for CallError {}

/// A consumer group whose offsets a transaction commits (KIP-447).
///
/// With the generation and the member id of a consumer, the broker rejects the offsets if the consumer is no longer a member of
/// the group. Without them ([`Group::new`]) it does not check that.
///
/// ```
/// use aioproducer_core::backend::Group;
///
/// let group = Group::new("billing");
/// assert_eq!((group.id.as_str(), group.generation), ("billing", None));
///
/// let group = Group::new("billing").with_member(7, "member-1").with_instance("billing-eu");
/// assert_eq!((group.generation, group.member.as_deref()), (Some(7), Some("member-1")));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group's id, `group.id`.
    pub id: String,
    /// The member's generation.
    pub generation: Option<i32>,
    /// The member's id.
    pub member: Option<String>,
    /// The instance id of a static member, `group.instance.id`.
    pub instance: Option<String>,
}

impl Group {
    /// A group without a member.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), generation: None, member: None, instance: None }
    }

    /// Sets a member's generation and id.
    #[must_use]
    pub fn with_member(mut self, generation: i32, member: impl Into<String>) -> Self {
        (self.generation, self.member) = (Some(generation), Some(member.into()));
        self
    }

    /// Sets the instance id of a static member, `group.instance.id`.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }
}

/// The offset that a group commits for a partition.
///
/// ```
/// use aioproducer_core::backend::GroupOffset;
///
/// let last_read = 41;
/// let next = GroupOffset::new("orders", 0, last_read + 1);
/// assert_eq!(next.offset, 42);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read: one more than that of the last record.
    pub offset: i64,
}

impl GroupOffset {
    /// `offset` is the offset of the next record to read.
    #[must_use]
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self { topic: topic.into(), partition, offset }
    }
}

/// A user name and a password. `Debug` shows neither.
///
/// ```
/// use aioproducer_core::backend::Credentials;
///
/// let credentials = Credentials::new("orders", "hunter2");
/// assert_eq!((credentials.user(), credentials.password()), ("orders", "hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// The credentials of a user.
    ///
    /// ```
    /// use aioproducer_core::backend::Credentials;
    ///
    /// let credentials = Credentials::new("orders", "hunter2");
    /// assert!(!format!("{credentials:?}").contains("hunter2"));
    /// ```
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn s33_credentials_are_not_shown() {
        let call = Call::SetSaslCredentials(Credentials::new("user-7", "hunter2"));
        let shown = format!("{:?}", Request { id: CallId(1), call, limit: Duration::ZERO });
        assert!(shown.contains("Credentials") && !shown.contains("hunter2") && !shown.contains("user-7"), "{shown}");
    }
}
