//! librdkafka's own form of a configuration, and why librdkafka refuses one.

use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaConfRes;

use crate::config::error::ConfigError;
use crate::config::read::invalid;
use crate::config::secrets::{Secrets, is_secret};
use crate::config::{features, hints, refusal};

/// librdkafka's own form of a configuration. The error may contain a value that is secret under another key.
pub(crate) fn native(config: &ClientConfig) -> Result<NativeClientConfig, ConfigError> {
    config.create_native_config().map_err(|error| match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => {
            ConfigError::UnknownKey { hint: hints::hint(&key), key }
        }
        KafkaError::ClientConfig(_, reason, key, value) => match features::missing(&reason) {
            Some(feature) => ConfigError::MissingFeature { key, feature },
            None if is_secret(&key) => invalid(&key, "librdkafka refuses it"),
            None => invalid(&key, &refusal::reason(&key, &value, &reason)),
        },
        other => ConfigError::Client { reason: other.to_string() },
    })
}

/// Why `rd_kafka_new` failed.
pub(crate) fn client_error(config: &ClientConfig, error: &KafkaError) -> ConfigError {
    let reason = match error {
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    };
    ConfigError::Client { reason: Secrets::of(config).hide(reason) }
}
