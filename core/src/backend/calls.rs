//! Broker calls: transactions, metadata, credentials.
//!
//! The driver requests a call with [`Backend::call`](super::Backend::call), which returns at once. The backend completes it with
//! [`Driver::complete_call`](super::Driver::complete_call). The driver requests one transactional call at a time, and one other
//! call.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::TopicId;

/// Identifies a call. A producer uses each id once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

/// A call that the driver requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The id, for [`Driver::complete_call`](super::Driver::complete_call).
    pub id: CallId,
    /// The call to make.
    pub call: Call,
    /// After this time the backend completes the call with an error that is [`CallError::retriable`]. A call under way may take
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
    /// [`CallError::retriable`], only this call may follow; it resumes the commit.
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
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call is done.
    Done,
    /// The answer of [`Call::Metadata`].
    Metadata(Metadata),
}

/// Why a call failed: the fields of librdkafka's `rd_kafka_error_t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The backend's error number (librdkafka: `rd_kafka_resp_err_t`), 0 if there is none.
    pub code: i32,
    /// A description.
    pub reason: String,
    /// The same call may be made again. A transactional call is resumed.
    pub retriable: bool,
    /// The transaction must be aborted.
    pub txn_requires_abort: bool,
    /// The producer is unusable. The backend also calls [`Driver::fatal`](super::Driver::fatal), before or after.
    pub fatal: bool,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group's id, `group.id`.
    pub id: String,
    /// The member's generation; -1 for none.
    pub generation: i32,
    /// The member's id; empty for none.
    pub member: String,
    /// The instance id of a static member, `group.instance.id`.
    pub instance: Option<String>,
}

impl Group {
    /// A group without a member.
    ///
    /// ```
    /// use aioproducer_core::backend::Group;
    ///
    /// let group = Group::new("billing");
    /// assert_eq!((group.id.as_str(), group.generation), ("billing", -1));
    /// ```
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), generation: -1, member: String::new(), instance: None }
    }
}

/// The offset that a group commits for a partition.
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
    ///
    /// ```
    /// use aioproducer_core::backend::GroupOffset;
    ///
    /// // The record at offset 41 was the last one.
    /// let offset = GroupOffset::new("orders", 0, 42);
    /// assert_eq!(offset.offset, 42);
    /// ```
    #[must_use]
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self { topic: topic.into(), partition, offset }
    }
}

/// A user name and a password. `Debug` shows neither.
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

/// A broker's metadata of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The id of the broker that answered; -1 if it is not known.
    pub answered_by: i32,
    /// The brokers of the cluster.
    pub brokers: Vec<Broker>,
    /// The requested topics.
    pub topics: Vec<TopicMetadata>,
}

impl Metadata {
    /// The topic with that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A topic's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// The broker's error, if the metadata are missing or incomplete.
    pub error: Option<MetadataError>,
    /// Its partitions.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its number.
    pub id: i32,
    /// The broker's error, if the metadata are missing or incomplete.
    pub error: Option<MetadataError>,
    /// The id of the leader, if there is one.
    pub leader: Option<i32>,
    /// The ids of the replicas' brokers.
    pub replicas: Vec<i32>,
    /// The ids of the in-sync replicas' brokers.
    pub in_sync: Vec<i32>,
}

/// A broker's error about a topic or a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataError {
    /// The backend's error number (librdkafka: `rd_kafka_resp_err_t`).
    pub code: i32,
    /// The backend's description of it.
    pub reason: &'static str,
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
