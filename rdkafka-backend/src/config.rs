//! From the application's librdkafka configuration to the one in force.

use std::time::Duration;

use aioproducer_core::backend::BackendLimits;
use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaConfRes;

use crate::topics::Partitioning;
use crate::{ConfigError, Partitioner};

/// Kafka's own delivery timeout (KIP-91), in milliseconds.
const DELIVERY_TIMEOUT_MS: i32 = 120_000;

/// librdkafka's transaction timeout unless it is configured, in milliseconds.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;

/// If the application set any of these, it decides about idempotence itself.
const ABOUT_IDEMPOTENCE: [&str; 9] = [
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "retries",
    "message.send.max.retries",
    "queuing.strategy",
    "transactional.id",
];

const DELIVERY_TIMEOUT: [&str; 2] = ["message.timeout.ms", "delivery.timeout.ms"];

/// A configuration that was checked, ours to change.
pub(crate) struct Effective {
    pub(crate) config: ClientConfig,
    pub(crate) partitioning: Partitioning,
    pub(crate) limits: BackendLimits,
}

/// Checks `user`, and adds what this backend wants where the application left it open.
pub(crate) fn effective(
    user: &ClientConfig,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
) -> Result<Effective, ConfigError> {
    let mut config = user.clone();
    let set = |key: &&str| user.get(key).is_some();
    if !has_brokers(user) {
        return Err(ConfigError::NoBootstrapServers);
    }
    if user.get("delivery.report.only.error") == Some("true") {
        return Err(invalid("delivery.report.only.error", "every record's outcome has to be reported"));
    }
    let partitioner = match (partitioner, user.get("partitioner")) {
        (Some(chosen), _) => chosen,
        (None, None | Some("murmur2" | "murmur2_random")) => Partitioner::Murmur2,
        (None, Some("consistent" | "consistent_random")) => Partitioner::Crc32,
        (None, Some(_)) => {
            return Err(invalid("partitioner", "murmur2, murmur2_random, consistent or consistent_random is expected"));
        }
    };
    config.remove("partitioner");

    // Records were gathered into batches before they come here, and the pool is the one limit of what may be queued.
    for (keys, value) in [
        (&["linger.ms", "queue.buffering.max.ms"][..], "0"),
        (&["queue.buffering.max.messages"], "0"),
        (&["queue.buffering.max.kbytes"], "2147483647"),
    ] {
        if !keys.iter().any(set) {
            config.set(keys[0], value);
        }
    }
    if !ABOUT_IDEMPOTENCE.iter().any(set) {
        config.set("enable.idempotence", "true");
    }
    let sticky = native(&config)?.get("sticky.partitioning.linger.ms").unwrap_or_default();
    // So that librdkafka asks our partitioner for records without a key, too.
    config.set("sticky.partitioning.linger.ms", "0");

    match delivery_timeout {
        Some(timeout) => {
            for key in DELIVERY_TIMEOUT {
                config.remove(key);
            }
            // 0 would mean no limit to librdkafka.
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128);
            config.set(DELIVERY_TIMEOUT[0], milliseconds.to_string());
        }
        None if !DELIVERY_TIMEOUT.iter().any(set) => {
            let limit = if user.get("transactional.id").is_some() {
                let transaction = user.get("transaction.timeout.ms").and_then(|value| value.parse().ok());
                transaction.unwrap_or(TRANSACTION_TIMEOUT_MS)
            } else {
                i32::MAX
            };
            config.set(DELIVERY_TIMEOUT[0], DELIVERY_TIMEOUT_MS.min(limit).to_string());
        }
        None => {}
    }

    let native = native(&config)?;
    let number = |key: &str| -> u64 { native.get(key).ok().and_then(|value| value.parse().ok()).unwrap_or(0) };
    let timeout = match number(DELIVERY_TIMEOUT[0]) {
        0 => None,
        milliseconds => Some(Duration::from_millis(milliseconds)),
    };
    let limits = BackendLimits {
        delivery_timeout: timeout,
        record_bytes: number("message.max.bytes") as usize,
        transactional: user.get("transactional.id").is_some_and(|id| !id.is_empty()),
    };
    let partitioning = Partitioning {
        partitioner,
        sticky_time: Duration::from_millis(sticky.parse().unwrap_or(0)),
        sticky_bytes: number("batch.size") as usize,
    };
    Ok(Effective { config, partitioning, limits })
}

/// librdkafka's own form of a configuration.
pub(crate) fn native(config: &ClientConfig) -> Result<NativeClientConfig, ConfigError> {
    config.create_native_config().map_err(|error| match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => ConfigError::UnknownKey { key },
        KafkaError::ClientConfig(_, _, key, _) if is_secret(&key) => invalid(&key, "librdkafka refuses it"),
        KafkaError::ClientConfig(_, reason, key, _) => invalid(&key, &redact(config, &reason)),
        other => ConfigError::Client { reason: redact(config, &other.to_string()) },
    })
}

/// Why `rd_kafka_new` failed.
pub(crate) fn refused(config: &ClientConfig, error: &KafkaError) -> ConfigError {
    let reason = match error {
        KafkaError::ClientCreation(reason) => redact(config, reason),
        other => redact(config, &other.to_string()),
    };
    ConfigError::Client { reason }
}

/// The configured keys, without their values.
pub(crate) fn keys(config: &ClientConfig) -> Vec<&str> {
    config.config_map().into_keys().collect()
}

fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::InvalidValue { key: key.into(), reason: reason.into() }
}

fn has_brokers(config: &ClientConfig) -> bool {
    let servers = ["bootstrap.servers", "metadata.broker.list"];
    let mocked = config.get("test.mock.num.brokers").is_some_and(|count| count.trim() != "0");
    mocked || servers.iter().any(|key| config.get(key).is_some_and(|value| !value.trim().is_empty()))
}

/// Whether a key's value must not be shown.
fn is_secret(key: &str) -> bool {
    const MARKS: [&str; 8] =
        ["password", "secret", "pem", "ssl.key", "ssl_key", "sasl.username", "oauthbearer.config", "private"];
    MARKS.iter().any(|mark| key.contains(mark))
}

/// `text` without the values of secret keys.
fn redact(config: &ClientConfig, text: &str) -> String {
    let secrets = keys(config).into_iter().filter(|key| is_secret(key)).filter_map(|key| config.get(key));
    secrets.filter(|secret| !secret.is_empty()).fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "localhost:1");
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        config
    }

    fn result(pairs: &[(&str, &str)], timeout: Option<u64>) -> Effective {
        effective(&config(pairs), None, timeout.map(Duration::from_millis)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(pairs: &[(&str, &str)]) -> ConfigError {
        match effective(&config(pairs), None, None) {
            Ok(_) => panic!("{pairs:?} was accepted"),
            Err(error) => error,
        }
    }

    #[test]
    fn defaults_are_added_where_the_user_set_nothing() {
        let plain = result(&[], None);
        assert_eq!(plain.config.get("linger.ms"), Some("0"));
        assert_eq!(plain.config.get("enable.idempotence"), Some("true"));
        assert_eq!(plain.config.get("queue.buffering.max.messages"), Some("0"));
        assert_eq!(plain.limits.record_bytes, 1_000_000);
        assert_eq!(plain.partitioning.sticky_time, Duration::from_millis(10));
        assert_eq!(plain.partitioning.sticky_bytes, 1_000_000);

        let own =
            result(&[("queue.buffering.max.ms", "7"), ("acks", "1"), ("queue.buffering.max.messages", "9")], None);
        assert_eq!(own.config.get("linger.ms"), None, "its alias is set");
        assert_eq!(own.config.get("enable.idempotence"), None);
        assert_eq!(own.config.get("queue.buffering.max.messages"), Some("9"));
    }

    #[test]
    fn the_delivery_timeout_is_the_callers_then_the_users_then_kafkas() {
        let timeout = |pairs: &[_], wish| result(pairs, wish).limits.delivery_timeout;
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(timeout(&[], None), ms(120_000));
        assert_eq!(timeout(&[("delivery.timeout.ms", "5000")], None), ms(5000));
        assert_eq!(timeout(&[("delivery.timeout.ms", "5000")], Some(700)), ms(700));
        assert_eq!(timeout(&[("message.timeout.ms", "0")], None), None);
        assert_eq!(timeout(&[("transactional.id", "t")], None), ms(60_000));
        assert_eq!(timeout(&[("transactional.id", "t"), ("transaction.timeout.ms", "9000")], None), ms(9000));
    }

    #[test]
    fn errors_name_the_key() {
        assert_eq!(error(&[("no.such.key", "1")]), ConfigError::UnknownKey { key: "no.such.key".into() });
        for pair in [("linger.ms", "soon"), ("partitioner", "fnv1a"), ("delivery.report.only.error", "true")] {
            assert!(error(&[pair]).to_string().contains(pair.0), "{pair:?}");
        }
        let nowhere = effective(&ClientConfig::new(), None, None).map(|_| ());
        assert_eq!(nowhere, Err(ConfigError::NoBootstrapServers));
    }

    #[test]
    fn secrets_are_taken_out_of_reasons() {
        let config = config(&[("sasl.password", "hunter2"), ("ssl.key.pem", "BEGIN")]);
        assert_eq!(redact(&config, "hunter2 at BEGIN of line"), "*** at *** of line");
    }

    #[test]
    fn librdkafkas_partitioner_names_are_honoured() {
        let partitioner = |name| format!("{:?}", result(&[("partitioner", name)], None).partitioning.partitioner);
        assert_eq!(partitioner("consistent_random"), "Crc32");
        assert_eq!(partitioner("murmur2"), "Murmur2");
    }
}
