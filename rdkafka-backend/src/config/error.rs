//! Why a configuration was refused.

use std::fmt;

use crate::config::secrets::Secrets;

/// A configuration that the backend cannot start with. Its text names the key and says what to do.
///
/// The value of a key that is not secret may be a part of it; secret ones are not, and librdkafka's reasons are cleared of them.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// librdkafka has no such key.
    UnknownKey {
        /// The key.
        key: String,
        /// What may have been meant: the nearest key, or where the setting is here.
        hint: String,
    },
    /// The key is a setting of consumers. librdkafka's producers take it and do nothing with it.
    ConsumerKey {
        /// The key.
        key: String,
    },
    /// A key's value is not accepted, or would be read as another.
    InvalidValue {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a key asks for is not in this build.
    MissingFeature {
        /// The key.
        key: String,
        /// The feature of this crate that has it, `ssl`, say.
        feature: &'static str,
    },
    /// The file or directory that a key names is not there, or cannot be read.
    Unreadable {
        /// The key.
        key: String,
        /// Its value.
        path: String,
        /// The operating system's reason.
        reason: String,
    },
    /// Neither `bootstrap.servers` (or its alias `metadata.broker.list`) nor `test.mock.num.brokers` is set.
    NoBootstrapServers,
    /// [`Librdkafka::workers`](crate::Librdkafka::workers) is 0.
    NoWorkers,
    /// librdkafka could not create its client (`rd_kafka_new`): values that do not go together, or files that it cannot use.
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

impl ConfigError {
    /// The same without what is secret by one key and was written for another, too.
    pub(crate) fn without(self, secrets: &Secrets) -> Self {
        match self {
            Self::InvalidValue { key, reason } => Self::InvalidValue { key, reason: secrets.hide(reason) },
            Self::Unreadable { key, path, reason } => Self::Unreadable { key, path: secrets.hide(path), reason },
            Self::Client { reason } => Self::Client { reason: secrets.hide(reason) },
            other => other,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, hint } => write!(f, "librdkafka knows no configuration key `{key}`: {hint}"),
            Self::ConsumerKey { key } => {
                write!(f, "`{key}` is a setting of consumers, and this is a producer's configuration: leave it out")
            }
            Self::InvalidValue { key, reason } => write!(f, "the value of `{key}` is not accepted: {reason}"),
            Self::MissingFeature { key, feature } => write!(
                f,
                "`{key}` asks for what is not in this build: enable the feature `{feature}` of aioproducer-rdkafka, or of \
                 aioproducer-tokio or aioproducer-smol, which pass it on"
            ),
            Self::Unreadable { key, path, reason } => {
                write!(f, "`{key}` is `{path}`, which cannot be read: {reason}; set it to a file that can")
            }
            Self::NoBootstrapServers => f.write_str(
                "`bootstrap.servers` is not set: set it to `host:port`, or to some with commas between them",
            ),
            Self::NoWorkers => f.write_str("`workers` is 0: at least one worker thread is needed"),
            Self::Client { reason } => write!(f, "librdkafka could not create its client: {reason}"),
            Self::Thread { reason } => write!(f, "a thread could not be started: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}
