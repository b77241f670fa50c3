//! Why a configuration is refused.

use std::fmt;

use crate::config::secrets::Secrets;

/// A configuration that the backend cannot start with. The text names the key and says what to do.
///
/// It may contain the value of a key that is not secret. The values of secret keys are removed, also from librdkafka's own
/// texts.
///
/// ```
/// use aioproducer_rdkafka::ConfigError;
///
/// fn report(error: &ConfigError) {
///     match error {
///         ConfigError::UnknownKey { key, .. } | ConfigError::InvalidValue { key, .. } => {
///             eprintln!("correct `{key}` in producer.properties: {error}");
///         }
///         other => eprintln!("{other}"),
///     }
/// }
/// # report(&ConfigError::NoBootstrapServers);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// librdkafka has no such key.
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest key, or where this setting is made.
        hint: String,
    },
    /// The key is a consumer setting. librdkafka accepts it in a producer and ignores it.
    ConsumerKey {
        /// The key.
        key: String,
    },
    /// The value of a key is invalid, or librdkafka would read it as another value.
    InvalidValue {
        /// The key.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The key needs a feature that this build lacks.
    MissingFeature {
        /// The key.
        key: String,
        /// The feature of this crate, such as `ssl`.
        feature: &'static str,
    },
    /// The file or directory that a key names does not exist or is not readable.
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
    /// [`Librdkafka::on_fatal`](crate::Librdkafka::on_fatal) or [`Librdkafka::on_stall`](crate::Librdkafka::on_stall) does not go with
    /// the configuration.
    Renewal {
        /// What excludes what.
        reason: &'static str,
    },
    /// librdkafka could not create its client (`rd_kafka_new`): values that exclude each other, or files that it cannot use.
    Client {
        /// librdkafka's reason, which names the key.
        reason: String,
    },
    /// The operating system refused to start a thread.
    Thread {
        /// The operating system's reason.
        reason: String,
    },
}

impl ConfigError {
    /// The same error without the values of secret keys, which may have been written for another key, too.
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
            Self::UnknownKey { key, hint } => write!(f, "unknown configuration key `{key}`: {hint}"),
            Self::ConsumerKey { key } => {
                write!(f, "`{key}` is a consumer setting, and this is the configuration of a producer: leave it out")
            }
            Self::InvalidValue { key, reason } => write!(f, "invalid value for `{key}`: {reason}"),
            Self::MissingFeature { key, feature } => write!(
                f,
                "`{key}` is set to something that this build lacks: enable the feature `{feature}` of aioproducer-rdkafka, \
                 or of the aioproducer crate that you depend on, which passes it on"
            ),
            Self::Unreadable { key, path, reason } => {
                write!(f, "cannot read `{path}`, the value of `{key}`: {reason}; set it to a readable file")
            }
            Self::NoBootstrapServers => {
                f.write_str("`bootstrap.servers` is not set: set it to `host:port`, or to several separated by commas")
            }
            Self::Renewal { reason } => f.write_str(reason),
            Self::NoWorkers => f.write_str("`workers` is 0: set at least one worker thread"),
            Self::Client { reason } => write!(f, "librdkafka could not create its client: {reason}"),
            Self::Thread { reason } => write!(f, "could not start a thread: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}
