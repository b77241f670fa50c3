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

/// Levels of librdkafka's log.
const INFO: i32 = 6;
const DEBUG: i32 = 7;

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

/// How many of the largest records librdkafka's queue has room for if it has room to spare.
const SPARE: u64 = 64;

/// A configuration that was checked, ours to change.
pub(crate) struct Effective {
    pub(crate) config: ClientConfig,
    pub(crate) partitioning: Partitioning,
    pub(crate) limits: BackendLimits,
    /// A few messages that are not freed at once make no difference to librdkafka's queue.
    pub(crate) has_spare_room: bool,
}

/// Checks `user`, and adds what this backend wants where the application left it open.
pub(crate) fn effective(
    user: &ClientConfig,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    has_provider: bool,
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
    // A broker's thread that waits to reconnect notices no timeout of the records that it holds.
    if !["reconnect.backoff.max.ms", "reconnect.backoff.ms"].iter().any(set) {
        config.set("reconnect.backoff.max.ms", "1000");
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
    check_tokens(&native, has_provider)?;
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
    // 0 messages are no limit.
    let (messages, bytes) = (number("queue.buffering.max.messages"), number("queue.buffering.max.kbytes") << 10);
    let has_spare_room = (messages == 0 || messages >= SPARE) && bytes >= SPARE * number("message.max.bytes");
    Ok(Effective { config, partitioning, limits, has_spare_room })
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

/// The key for librdkafka's own, unsecured tokens, for development.
pub(crate) const UNSECURED_TOKENS: &str = "enable.sasl.oauthbearer.unsecure.jwt";

/// Checks that tokens come from one place, if any are needed.
fn check_tokens(native: &NativeClientConfig, has_provider: bool) -> Result<(), ConfigError> {
    let is = |key: &str, value: &str| native.get(key).is_ok_and(|found| found.eq_ignore_ascii_case(value));
    let has = |key: &str, part: &str| native.get(key).is_ok_and(|found| found.to_ascii_lowercase().contains(part));
    // librdkafka itself says if it was built without.
    let needed = has("security.protocol", "sasl_")
        && is("sasl.mechanisms", "OAUTHBEARER")
        && has("builtin.features", "sasl_oauthbearer");
    let own = [(UNSECURED_TOKENS, "true"), ("sasl.oauthbearer.method", "oidc")];
    match own.into_iter().find(|(key, value)| is(key, value)) {
        Some((key, _)) if has_provider => {
            Err(invalid(key, "librdkafka gets tokens itself then, and there is a provider"))
        }
        None if needed && !has_provider => Err(invalid("sasl.mechanisms", "OAUTHBEARER needs a token provider")),
        _ => Ok(()),
    }
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

/// The values of secret keys.
pub(crate) fn secrets(config: &ClientConfig) -> impl Iterator<Item = &str> {
    let values = keys(config).into_iter().filter(|key| is_secret(key)).filter_map(|key| config.get(key));
    values.filter(|secret| !secret.is_empty())
}

/// `text` without the values of secret keys.
fn redact(config: &ClientConfig, text: &str) -> String {
    secrets(config).fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// The `log_level` in force. librdkafka raises it itself if something is to be debugged, and rdkafka sets another one, by
/// what the crate `log` would show.
pub(crate) fn log_level(config: &ClientConfig, native: &NativeClientConfig) -> i32 {
    let configured = native.get("log_level").ok().and_then(|level| level.parse().ok());
    if config.get("debug").is_some_and(|debug| !debug.trim().is_empty()) { DEBUG } else { configured.unwrap_or(INFO) }
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
        effective(&config(pairs), None, timeout.map(Duration::from_millis), false)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(pairs: &[(&str, &str)]) -> ConfigError {
        match effective(&config(pairs), None, None, false) {
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
        assert_eq!(plain.config.get("reconnect.backoff.max.ms"), Some("1000"));
        assert_eq!(plain.limits.record_bytes, 1_000_000);
        assert_eq!(plain.partitioning.sticky_time, Duration::from_millis(10));
        assert_eq!(plain.partitioning.sticky_bytes, 1_000_000);

        let own =
            result(&[("queue.buffering.max.ms", "7"), ("acks", "1"), ("queue.buffering.max.messages", "9")], None);
        assert_eq!(own.config.get("linger.ms"), None, "its alias is set");
        assert_eq!(own.config.get("enable.idempotence"), None);
        assert_eq!(own.config.get("queue.buffering.max.messages"), Some("9"));
        let patient = result(&[("reconnect.backoff.ms", "2000")], None);
        assert_eq!(patient.config.get("reconnect.backoff.max.ms"), None, "it must not be less than the other");
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
        let nowhere = effective(&ClientConfig::new(), None, None, false).map(|_| ());
        assert_eq!(nowhere, Err(ConfigError::NoBootstrapServers));
    }

    #[test]
    fn secrets_are_taken_out_of_reasons() {
        let config = config(&[("sasl.password", "hunter2"), ("ssl.key.pem", "BEGIN")]);
        assert_eq!(redact(&config, "hunter2 at BEGIN of line"), "*** at *** of line");
    }

    #[test]
    fn s34_tokens_come_from_one_place() {
        let oauth = [("security.protocol", "sasl_plaintext"), ("sasl.mechanisms", "OAUTHBEARER")];
        let refused = |pairs: &[(&str, &str)], has_provider| match effective(&config(pairs), None, None, has_provider) {
            Err(ConfigError::InvalidValue { key, .. }) => Some(key),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        };
        let features = native(&ClientConfig::new()).unwrap().get("builtin.features").unwrap();
        if !features.contains("sasl_oauthbearer") {
            // Keys are unknown then, and rd_kafka_new names the feature.
            println!("SKIPPED: this librdkafka has no OAUTHBEARER; it comes with the feature ssl");
            assert_eq!(refused(&oauth, false), None);
            return;
        }
        assert_eq!(refused(&oauth, true), None);
        assert_eq!(refused(&oauth, false).as_deref(), Some("sasl.mechanisms"));
        assert_eq!(refused(&oauth[..1], false), None, "another mechanism");
        assert_eq!(refused(&oauth[1..], false), None, "no SASL");
        let unsecured = [oauth[0], oauth[1], (UNSECURED_TOKENS, "true")];
        assert_eq!(refused(&unsecured, false), None);
        assert_eq!(refused(&unsecured, true).as_deref(), Some(UNSECURED_TOKENS));
    }

    #[test]
    fn librdkafkas_partitioner_names_are_honoured() {
        let partitioner = |name| format!("{:?}", result(&[("partitioner", name)], None).partitioning.partitioner);
        assert_eq!(partitioner("consistent_random"), "Crc32");
        assert_eq!(partitioner("murmur2"), "Murmur2");
    }
}
