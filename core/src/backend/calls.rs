//! Calls of a backend that wait for a broker: transactions, metadata, credentials.
//!
//! The driver asks by [`Backend::call`](super::Backend::call), which returns at once, and hears by
//! [`Driver::answered`](super::Driver::answered). At any time it has at most one call of transactions with the backend,
//! and one other.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::TopicId;

/// Tells one call's answer from another's; never used twice by one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

/// A call that the driver asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What its answer carries.
    pub id: CallId,
    /// What to call.
    pub call: Call,
    /// When the backend gives up and answers with an error that is [`CallError::retriable`]. A call that is under way may
    /// take a little longer.
    pub limit: Duration,
}

impl Call {
    /// Whether it is a transaction's. Such calls are made one after another, and no other call holds them up.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        match self {
            Self::InitTransactions | Self::Begin | Self::SendOffsets { .. } | Self::Commit | Self::Abort => true,
            Self::Metadata { .. } | Self::Ready { .. } | Self::SetSaslCredentials(_) => false,
        }
    }
}

/// What a backend can be asked to call.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Gets the transactional id's producer id, and ends what an earlier producer of that id left open
    /// (`rd_kafka_init_transactions`).
    InitTransactions,
    /// Opens a transaction (`rd_kafka_begin_transaction`).
    Begin,
    /// Makes offsets part of the transaction (`rd_kafka_send_offsets_to_transaction`).
    SendOffsets {
        /// The offsets; never empty.
        offsets: Vec<GroupOffset>,
        /// Whose offsets they are.
        group: Group,
    },
    /// Commits the transaction, whose records have their outcome (`rd_kafka_commit_transaction`). After an answer that is
    /// [`CallError::retriable`] nothing but this call may follow: it takes up where it was.
    Commit,
    /// Aborts the transaction (`rd_kafka_abort_transaction`). What the backend has not sent fails with
    /// [`FailureKind::Purged`](super::FailureKind::Purged), and what is in flight is waited for.
    Abort,
    /// Asks a broker about the cluster (`rd_kafka_metadata`).
    Metadata {
        /// The one topic of interest, `None` for all.
        topic: Option<String>,
    },
    /// Gets all that a record needs: a producer id, and for each topic its partitions and a connection to each leader.
    Ready {
        /// The topics; none to get what does not depend on a topic.
        topics: Vec<TopicId>,
    },
    /// Changes the credentials of connections to come (`rd_kafka_sasl_set_credentials`).
    SetSaslCredentials(Credentials),
}

/// What a call came to.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// To [`Call::Metadata`].
    Metadata(Metadata),
}

/// Why a call failed: the parts of librdkafka's `rd_kafka_error_t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The backend's error number (librdkafka: `rd_kafka_resp_err_t`), 0 if there is none.
    pub code: i32,
    /// A description.
    pub reason: String,
    /// The same call may be made again; a transaction's call takes up where it was.
    pub retriable: bool,
    /// The transaction can only be aborted.
    pub txn_requires_abort: bool,
    /// The producer cannot go on. The backend says so by [`Driver::fatal`](super::Driver::fatal), too, before or after.
    pub fatal: bool,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl core::error::Error for CallError {}

/// A consumer group, as a transaction commits its offsets (KIP-447).
///
/// With the generation and the member of a live consumer, the broker refuses offsets of one that has lost its place in
/// the group; without them ([`Group::new`]) it does not look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The group's name, `group.id`.
    pub id: String,
    /// The generation that the member is in; -1 for none.
    pub generation: i32,
    /// The member's id; empty for none.
    pub member: String,
    /// A static member's name, `group.instance.id`.
    pub instance: Option<String>,
}

impl Group {
    /// A group, with nobody as its member.
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

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read: the last one's plus one.
    pub offset: i64,
}

impl GroupOffset {
    /// `offset` is that of the next record to read.
    #[must_use]
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self { topic: topic.into(), partition, offset }
    }
}

/// A name and its password. Neither is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Of `user`.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// The name.
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

/// What a broker knows of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The id of the broker that answered, -1 if it did not say.
    pub answered_by: i32,
    /// The cluster's brokers.
    pub brokers: Vec<Broker>,
    /// The topics that were asked for.
    pub topics: Vec<TopicMetadata>,
}

impl Metadata {
    /// A topic by its name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Why the broker does not tell (all) about it.
    pub error: Option<MetadataError>,
    /// Its partitions.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its number.
    pub id: i32,
    /// Why the broker does not tell (all) about it.
    pub error: Option<MetadataError>,
    /// The id of the broker that leads it, if one does.
    pub leader: Option<i32>,
    /// The ids of the brokers that have it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
}

/// What is wrong with a topic or a partition.
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
