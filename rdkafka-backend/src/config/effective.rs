//! From the application's librdkafka configuration to the one in force.
//!
//! What a value means is librdkafka's to say: decisions are made by what it has read, not by how it is written. Whether the
//! application has left a key alone is looked up by all of the key's names.

pub(crate) mod error;
mod features;
mod files;
mod hints;
mod idempotence;
mod keys;
mod names;
pub(crate) mod secrets;
mod servers;
mod values;

use std::time::Duration;

use aioproducer_core::backend::BackendLimits;
use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaConfRes;

pub use self::idempotence::IdempotenceOff;
use crate::config::secrets::{Secrets, is_secret};
use crate::partition::choice::Partitioning;
use crate::{ConfigError, Partitioner};

/// Kafka's own delivery timeout (KIP-91), in milliseconds.
const DELIVERY_TIMEOUT_MS: u64 = 120_000;

/// The longest pause between two attempts to connect in Kafka's own client, in milliseconds.
const RECONNECT_MS: u64 = 1_000;

/// The default of `reconnect.backoff.ms`; librdkafka's is 100.
const FIRST_RECONNECT_MS: u64 = 20;

/// Levels of librdkafka's log.
pub(crate) const INFO: i32 = 6;
const DEBUG: i32 = 7;

const DELIVERY_TIMEOUT: &str = "message.timeout.ms";
const RECORD_BYTES: &str = "message.max.bytes";
const TRANSACTIONAL_ID: &str = "transactional.id";

/// What librdkafka counts for a record beside its key, value and headers, all its lengths as long as they can be
/// (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`).
const OVERHEAD: usize = 36;

/// How many of the largest records librdkafka's queue has room for if it has room to spare.
const SPARE: u64 = 64;

/// A configuration that was checked, ours to change.
pub(crate) struct Effective {
    pub(crate) config: ClientConfig,
    pub(crate) partitioning: Partitioning,
    pub(crate) limits: BackendLimits,
    /// A few messages that are not freed at once make no difference to librdkafka's queue.
    pub(crate) has_spare_room: bool,
    /// What the application has to be told.
    pub(crate) idempotence_off: Option<IdempotenceOff>,
}

/// Checks `user`, and adds what this backend wants where the application left it open.
pub(crate) fn effective(
    user: &ClientConfig,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    has_provider: bool,
) -> Result<Effective, ConfigError> {
    checked(user, partitioner, delivery_timeout, has_provider).map_err(|error| error.without(&Secrets::of(user)))
}

fn checked(
    user: &ClientConfig,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    has_provider: bool,
) -> Result<Effective, ConfigError> {
    values::check(user)?;
    names::check(user)?;
    let read = native(user)?;
    let is_open = |key| names::used(user, key).is_none();
    if !has_brokers(&read) {
        return Err(ConfigError::NoBootstrapServers);
    }
    servers::check(user, &read)?;
    features::check_mechanism(&read, !is_open("sasl.mechanisms"))?;
    files::check(user, &read)?;
    if is_true(&read, "delivery.report.only.error") {
        return Err(invalid("delivery.report.only.error", "every record's outcome has to be reported; leave it out"));
    }
    let partitioner = match partitioner {
        Some(chosen) => chosen,
        None if is_open("partitioner") => Partitioner::default(),
        None => value(&read, "partitioner").and_then(|name| Partitioner::named(&name)).ok_or_else(|| {
            invalid("partitioner", "this librdkafka knows it and this producer does not: set one in its backend")
        })?,
    };
    let mut config = user.clone();
    let transactional = value(&read, TRANSACTIONAL_ID).is_some();
    if !transactional {
        // librdkafka takes one that is blank for an id.
        config.remove(TRANSACTIONAL_ID);
    }

    // Records were gathered into batches before they come here, and the pool is the one limit of what may be queued.
    for (key, value) in
        [("linger.ms", "0"), ("queue.buffering.max.messages", "0"), ("queue.buffering.max.kbytes", "2147483647")]
    {
        if is_open(key) {
            config.set(key, value);
        }
    }
    // librdkafka makes no other connection for half of that time after its first one, which is not the one that records take.
    if is_open("reconnect.backoff.ms") {
        let longest =
            if is_open("reconnect.backoff.max.ms") { RECONNECT_MS } else { number(&read, "reconnect.backoff.max.ms") };
        config.set("reconnect.backoff.ms", FIRST_RECONNECT_MS.min(longest).to_string());
    }
    // A broker's thread that waits to reconnect notices no timeout of the records that it holds.
    if is_open("reconnect.backoff.max.ms") {
        let least = number(&read, "reconnect.backoff.ms");
        config.set("reconnect.backoff.max.ms", RECONNECT_MS.max(least).to_string());
    }
    let idempotence_off = idempotence::decide(user, &read, transactional)?;
    idempotence::apply(&mut config, idempotence_off.as_ref());
    let sticky = number(&read, "sticky.partitioning.linger.ms");
    // So that librdkafka asks our partitioner for records without a key, too.
    config.set("sticky.partitioning.linger.ms", "0");

    match delivery_timeout {
        Some(timeout) => {
            for name in names::all(DELIVERY_TIMEOUT) {
                config.remove(name);
            }
            // 0 would mean no limit to librdkafka.
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128);
            config.set(DELIVERY_TIMEOUT, milliseconds.to_string());
        }
        None if is_open(DELIVERY_TIMEOUT) => {
            let limit = if transactional { number(&read, "transaction.timeout.ms") } else { u64::MAX };
            config.set(DELIVERY_TIMEOUT, DELIVERY_TIMEOUT_MS.min(limit).to_string());
        }
        None => {}
    }

    let native = native(&config)?;
    check_tokens(&native, has_provider)?;
    let timeout = match number(&native, DELIVERY_TIMEOUT) {
        0 => None,
        milliseconds => Some(Duration::from_millis(milliseconds)),
    };
    let record_bytes = number(&native, RECORD_BYTES);
    let limits = BackendLimits {
        delivery_timeout: timeout,
        linger: linger(&native),
        record_bytes: record_bytes as usize,
        record_overhead: OVERHEAD,
        record_setting: RECORD_BYTES,
        transactional,
    };
    let partitioning = Partitioning {
        partitioner,
        sticky_time: Duration::from_millis(sticky),
        sticky_bytes: number(&native, "batch.size") as usize,
    };
    // 0 messages are no limit.
    let messages = number(&native, "queue.buffering.max.messages");
    let bytes = number(&native, "queue.buffering.max.kbytes") << 10;
    let has_spare_room = (messages == 0 || messages >= SPARE) && bytes >= SPARE * record_bytes;
    Ok(Effective { config, partitioning, limits, has_spare_room, idempotence_off })
}

/// What librdkafka has read for `key`, by any of its names; `None` if that is nothing, or blank.
fn value(native: &NativeClientConfig, key: &str) -> Option<String> {
    native.get(key).ok().filter(|value| !value.trim().is_empty())
}

fn number(native: &NativeClientConfig, key: &str) -> u64 {
    value(native, key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// How long librdkafka lingers.
fn linger(native: &NativeClientConfig) -> Duration {
    let milliseconds = value(native, "linger.ms").and_then(|value| value.parse().ok()).unwrap_or(0.0);
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()
}

fn is_true(native: &NativeClientConfig, key: &str) -> bool {
    value(native, key).is_some_and(|value| value == "true")
}

/// librdkafka's own form of a configuration. The error may quote a value that is secret by another key.
pub(crate) fn native(config: &ClientConfig) -> Result<NativeClientConfig, ConfigError> {
    config.create_native_config().map_err(|error| match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => {
            ConfigError::UnknownKey { hint: hints::hint(&key), key }
        }
        KafkaError::ClientConfig(_, reason, key, value) => match features::missing(&reason) {
            Some(feature) => ConfigError::MissingFeature { key, feature },
            None if is_secret(&key) => invalid(&key, "librdkafka refuses it"),
            None => invalid(&key, &values::refusal(&key, &value, &reason)),
        },
        other => ConfigError::Client { reason: other.to_string() },
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
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    };
    ConfigError::Client { reason: Secrets::of(config).hide(reason) }
}

/// The configured keys, without their values.
pub(crate) fn keys(config: &ClientConfig) -> Vec<&str> {
    config.config_map().into_keys().collect()
}

fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::InvalidValue { key: key.into(), reason: reason.into() }
}

fn has_brokers(native: &NativeClientConfig) -> bool {
    number(native, "test.mock.num.brokers") > 0 || value(native, "bootstrap.servers").is_some()
}

/// The `log_level` in force. librdkafka raises it itself if something is to be debugged, and rdkafka sets another one, by
/// what the crate `log` would show.
pub(crate) fn log_level(native: &NativeClientConfig) -> i32 {
    let configured = native.get("log_level").ok().and_then(|level| level.parse().ok());
    if value(native, "debug").is_some() { DEBUG } else { configured.unwrap_or(INFO) }
}

/// A file of librdkafka's, of the version that is built along; `None` where that is not at hand.
#[cfg(test)]
pub(crate) fn vendored(path: &str) -> Option<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version=1", "--offline", "--manifest-path", manifest];
    let output = std::process::Command::new(env!("CARGO")).args(arguments).output().ok()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == "rdkafka-sys")?;
    let folder = std::path::Path::new(package["manifest_path"].as_str()?).parent()?.join("librdkafka");
    let text = std::fs::read_to_string(folder.join(path)).ok();
    if text.is_none() {
        println!("SKIPPED: there is no source of librdkafka");
    }
    text
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
        assert_eq!(plain.config.get("reconnect.backoff.ms"), Some("20"));
        let hasty = result(&[("reconnect.backoff.max.ms", "7")], None);
        assert_eq!(hasty.config.get("reconnect.backoff.ms"), Some("7"), "not more than the longest");
        assert_eq!(plain.limits.record_bytes, 1_000_000);
        assert_eq!(plain.partitioning.sticky_time, Duration::from_millis(10));
        assert_eq!(plain.partitioning.sticky_bytes, 1_000_000);

        let own =
            result(&[("queue.buffering.max.ms", "7"), ("acks", "1"), ("queue.buffering.max.messages", "9")], None);
        assert_eq!(own.config.get("linger.ms"), None, "its alias is set");
        assert_eq!(own.config.get("enable.idempotence"), Some("false"));
        assert_eq!(own.config.get("queue.buffering.max.messages"), Some("9"));
        for (least, longest) in [("50", "1000"), ("0x7d0", "2000")] {
            let patient = result(&[("reconnect.backoff.ms", least)], None);
            assert_eq!(patient.config.get("reconnect.backoff.max.ms"), Some(longest), "not less than {least}");
        }
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
        assert_eq!(timeout(&[("transactional.id", "t"), ("transaction.timeout.ms", " 0x2328")], None), ms(9000));
        assert_eq!(timeout(&[("topic.delivery.timeout.ms", "5000")], None), ms(5000));
        assert_eq!(timeout(&[("topic.message.timeout.ms", "5000")], Some(700)), ms(700));
        for blank in ["", "  "] {
            let plain = result(&[("transactional.id", blank)], None);
            assert_eq!((plain.limits.delivery_timeout, plain.limits.transactional), (ms(120_000), false));
            assert_eq!(plain.config.get("enable.idempotence"), Some("true"));
        }
    }

    #[test]
    fn errors_name_the_key() {
        assert!(matches!(error(&[("no.such.key", "1")]), ConfigError::UnknownKey { key, .. } if key == "no.such.key"));
        for pair in
            [("linger.ms", "soon"), ("partitioner", "nearest"), ("delivery.report.only.error", "T"), ("acks", "")]
        {
            assert!(error(&[pair]).to_string().contains(pair.0), "{pair:?}");
        }
        for (key, value) in [("client.id", "x"), ("test.mock.num.brokers", "0x0"), ("bootstrap.servers", " ")] {
            let mut nowhere = ClientConfig::new();
            nowhere.set(key, value);
            let nowhere = effective(&nowhere, None, None, false).map(|_| ());
            assert_eq!(nowhere, Err(ConfigError::NoBootstrapServers), "{key}");
        }
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
            println!("SKIPPED: this librdkafka has no OAUTHBEARER; it comes with the feature ssl");
            let missing = ConfigError::MissingFeature { key: "sasl.mechanisms".into(), feature: "ssl" };
            assert_eq!(error(&oauth), missing);
            return;
        }
        assert_eq!(refused(&oauth, true), None);
        assert_eq!(refused(&oauth, false).as_deref(), Some("sasl.mechanisms"));
        let plain = [oauth[0], ("sasl.mechanisms", "PLAIN")];
        assert_eq!(refused(&plain, false), None, "another mechanism");
        assert_eq!(refused(&oauth[1..], false), None, "no SASL");
        let unsecured = [oauth[0], oauth[1], (UNSECURED_TOKENS, "true")];
        assert_eq!(refused(&unsecured, false), None);
        assert_eq!(refused(&unsecured, true).as_deref(), Some(UNSECURED_TOKENS));
    }

    #[test]
    fn s33_two_names_of_one_setting_agree_or_are_refused() {
        // The order of a configuration is chance, so many are tried.
        for _ in 0..20 {
            let pairs = [("request.required.acks", "all"), ("acks", "1")];
            let error = error(&pairs).to_string();
            assert!(error.contains("request.required.acks") && error.contains("`acks`"), "{error}");
            let same = result(&[("linger.ms", "5"), ("queue.buffering.max.ms", "5.0")], None);
            assert_eq!(same.config.get("enable.idempotence"), Some("true"));
        }
    }

    #[test]
    fn librdkafkas_partitioner_names_are_honoured() {
        let partitioner = |pairs: &[_]| format!("{:?}", result(pairs, None).partitioning.partitioner);
        for (name, ours) in [
            ("random", "Random"),
            ("consistent", "Consistent"),
            ("consistent_random", "ConsistentRandom"),
            ("murmur2", "Murmur2"),
            ("murmur2_random", "Murmur2Random"),
            ("fnv1a", "Fnv1a"),
            ("fnv1a_random", "Fnv1aRandom"),
        ] {
            assert_eq!(partitioner(&[("partitioner", name)]), ours);
            assert_eq!(partitioner(&[("topic.partitioner", name)]), ours);
        }
        assert_eq!(partitioner(&[]), "Murmur2Random", "Java's");
        assert_eq!(partitioner(&[("acks", "all")]), "Murmur2Random", "whatever else is said of topics");
    }

    #[test]
    fn s34_the_log_s_level_is_librdkafkas() {
        let level = |pairs: &[_]| log_level(&native(&config(pairs)).unwrap());
        assert_eq!(level(&[]), INFO);
        assert_eq!(level(&[("log_level", "0x3")]), 3);
        assert_eq!(level(&[("log_level", "3"), ("debug", ",")]), 3, "nothing is to be debugged");
        assert_eq!(level(&[("log_level", "3"), ("debug", "topic")]), DEBUG);
    }
}
