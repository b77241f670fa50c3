//! Metadata of a cluster.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::ErrorCode;

/// A broker's metadata of its cluster (`rd_kafka_metadata`).
///
/// ```
/// use aioproducer_core::backend::Metadata;
///
/// /// The partitions of a topic that have no leader.
/// fn leaderless(metadata: &Metadata, topic: &str) -> Vec<i32> {
///     let partitions = metadata.topic(topic).map_or(&[][..], |topic| &topic.partitions);
///     partitions.iter().filter(|partition| partition.leader.is_none()).map(|partition| partition.id).collect()
/// }
/// assert!(leaderless(&Metadata::default(), "orders").is_empty());
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The id of the broker that answered, if it is known.
    pub answered_by: Option<i32>,
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
///
/// ```
/// use aioproducer_core::backend::Broker;
///
/// let broker = Broker::new(1, "kafka-1.example", 9092);
/// assert_eq!(format!("{}:{}", broker.host, broker.port), "kafka-1.example:9092");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Broker {
    /// A broker.
    #[must_use]
    pub fn new(id: i32, host: impl Into<String>, port: u16) -> Self {
        Self { id, host: host.into(), port }
    }
}

/// A topic's metadata.
///
/// ```
/// use aioproducer_core::backend::{PartitionMetadata, TopicMetadata};
///
/// let mut topic = TopicMetadata::new("orders");
/// topic.partitions.push(PartitionMetadata::new(0));
/// assert!(topic.error.is_none() && topic.partitions.len() == 1);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// The broker's error, if the metadata are missing or incomplete.
    pub error: Option<MetadataError>,
    /// Its partitions.
    pub partitions: Vec<PartitionMetadata>,
}

impl TopicMetadata {
    /// A topic without an error and without partitions.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), error: None, partitions: Vec::new() }
    }
}

/// A partition's metadata.
///
/// ```
/// use aioproducer_core::backend::PartitionMetadata;
///
/// /// Whether a record with `acks=all` can be written.
/// fn is_writable(partition: &PartitionMetadata, min_insync_replicas: usize) -> bool {
///     partition.leader.is_some() && partition.in_sync.len() >= min_insync_replicas
/// }
/// assert!(!is_writable(&PartitionMetadata::new(0), 1));
/// ```
#[non_exhaustive]
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

impl PartitionMetadata {
    /// A partition without an error, a leader and replicas.
    #[must_use]
    pub fn new(id: i32) -> Self {
        Self { id, error: None, leader: None, replicas: Vec::new(), in_sync: Vec::new() }
    }
}

/// A broker's error about a topic or a partition.
///
/// ```
/// use aioproducer_core::backend::{ErrorCode, MetadataError};
///
/// let error = MetadataError::new(ErrorCode::UnknownTopicOrPart, "Broker: Unknown topic or partition");
/// assert_eq!(error.code(), ErrorCode::UnknownTopicOrPart);
/// assert_eq!(error.to_string(), "Broker: Unknown topic or partition");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataError {
    code: ErrorCode,
    reason: &'static str,
}

impl MetadataError {
    /// An error with the backend's description of it.
    #[must_use]
    pub const fn new(code: ErrorCode, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// The error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The backend's description of it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl core::error::Error for MetadataError {}
