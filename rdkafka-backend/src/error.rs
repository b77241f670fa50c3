//! Why a configuration was refused.

use std::fmt;

/// A configuration that the backend cannot start with.
///
/// No variant carries the value of a key, and librdkafka's reasons are cleared of the values of secret keys.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// librdkafka has no such key.
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key's value is not accepted.
    InvalidValue {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither `bootstrap.servers` (or its alias `metadata.broker.list`) nor `test.mock.num.brokers` is set.
    NoBootstrapServers,
    /// [`Librdkafka::workers`](crate::Librdkafka::workers) is 0.
    NoWorkers,
    /// librdkafka could not create its client (`rd_kafka_new`): values that do not go together, or files that are missing.
    Client {
        /// librdkafka's reason, which names the culprit.
        reason: String,
    },
    /// The operating system refused a thread.
    Thread {
        /// Its reason.
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key } => write!(f, "librdkafka knows no configuration key `{key}`"),
            Self::InvalidValue { key, reason } => write!(f, "the value of `{key}` is not accepted: {reason}"),
            Self::NoBootstrapServers => f.write_str("`bootstrap.servers` is not set"),
            Self::NoWorkers => f.write_str("at least one worker thread is needed"),
            Self::Client { reason } => write!(f, "librdkafka could not create its client: {reason}"),
            Self::Thread { reason } => write!(f, "a thread could not be started: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}
