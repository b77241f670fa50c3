//! The configuration in force: the application's, checked, with this backend's defaults, and the limits that follow from it.

use std::time::Duration;

use aioproducer_core::backend::BackendLimits;
use rdkafka::config::{ClientConfig, NativeClientConfig};

use crate::config::error::ConfigError;
use crate::config::idempotence::IdempotenceOff;
use crate::config::native::native;
use crate::config::read::{invalid, is_true, linger, number, value};
use crate::config::secrets::Secrets;
use crate::config::{features, files, idempotence, names, own, servers, values};
use crate::partition::partitioner::Partitioner;
use crate::partition::partitioning::Partitioning;

/// The delivery timeout of Kafka's Java client (KIP-91), in milliseconds.
const DELIVERY_TIMEOUT_MS: u64 = 120_000;

/// The longest pause between two connection attempts in Kafka's Java client, in milliseconds.
const MAX_RECONNECT_MS: u64 = 1_000;

/// Our default of `reconnect.backoff.ms`; librdkafka's is 100.
const RECONNECT_MS: u64 = 20;

const PROPAGATION: &str = "topic.metadata.propagation.max.ms";
const DELIVERY_TIMEOUT: &str = "message.timeout.ms";
const RECORD_BYTES: &str = "message.max.bytes";
const TRANSACTIONAL_ID: &str = "transactional.id";

/// The key for librdkafka's own unsecured tokens, for development.
pub(crate) const UNSECURED_TOKENS: &str = "enable.sasl.oauthbearer.unsecure.jwt";

/// What librdkafka counts for a record besides key, value and headers: the largest encoding of all lengths
/// (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`).
const OVERHEAD: usize = 36;

/// librdkafka's queue has spare room if this many records of the largest size fit.
const SPARE: u64 = 64;

/// A checked configuration.
pub(crate) struct Effective {
    pub(crate) config: ClientConfig,
    pub(crate) partitioning: Partitioning,
    pub(crate) limits: BackendLimits,
    /// librdkafka's queue has room although a few messages are freed later than they are reported.
    pub(crate) has_spare_room: bool,
    /// No record is taken out of librdkafka's queues, as that would leave a gap in the numbers of an idempotent producer.
    pub(crate) strict: bool,
    /// To be reported to the application.
    pub(crate) idempotence_off: Option<IdempotenceOff>,
}

/// Checks `user`, and adds this backend's defaults for the keys that are not set.
pub(crate) fn effective(
    user: &ClientConfig,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    has_provider: bool,
) -> Result<Effective, ConfigError> {
    build(user, partitioner, delivery_timeout, has_provider).map_err(|error| error.without(&Secrets::of(user)))
}

fn build(
    user: &ClientConfig,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    has_provider: bool,
) -> Result<Effective, ConfigError> {
    let (user, own) = own::take(user)?;
    let user = &user;
    let read = checked(user)?;
    let partitioner = partitioner.map_or_else(|| configured_partitioner(user, &read), Ok)?;
    let mut config = user.clone();
    let transactional = value(&read, TRANSACTIONAL_ID).is_some();
    if !transactional {
        // librdkafka takes a blank value for an id.
        config.remove(TRANSACTIONAL_ID);
    }
    set_defaults(&mut config, user, &read);
    // A transaction with such a gap is aborted.
    let strict = own.strict && !transactional;
    let idempotence_off = idempotence::decide(user, &read, transactional, strict)?;
    idempotence::apply(&mut config, idempotence_off.as_ref(), strict);
    // So that librdkafka calls our partitioner for records without a key, too.
    config.set("sticky.partitioning.linger.ms", "0");
    set_delivery_timeout(&mut config, user, &read, delivery_timeout);

    let native = native(&config)?;
    check_tokens(&native, has_provider)?;
    let delivery_timeout = match number(&native, DELIVERY_TIMEOUT) {
        0 => None,
        milliseconds => Some(Duration::from_millis(milliseconds)),
    };
    if !transactional {
        never_time_out(&mut config);
        if let Some(timeout) = delivery_timeout.filter(|_| is_unset(user, PROPAGATION)) {
            config.set(PROPAGATION, propagation(timeout).as_millis().to_string());
        }
    }
    let linger = linger(&native);
    // No answer is due while librdkafka lingers.
    let availability_timeout = own.availability_timeout.map(|timeout| timeout + linger);
    let record_bytes = number(&native, RECORD_BYTES);
    let limits = BackendLimits {
        delivery_timeout,
        linger,
        record_bytes: record_bytes as usize,
        record_overhead: OVERHEAD,
        record_setting: Some(RECORD_BYTES),
        availability_timeout,
        transactional,
    };
    let partitioning = Partitioning {
        partitioner,
        sticky_time: Duration::from_millis(number(&read, "sticky.partitioning.linger.ms")),
        sticky_bytes: number(&native, "batch.size") as usize,
        adaptive: own.adaptive,
        crowd: u32::MAX,
        availability_timeout,
    };
    // 0 messages means no limit.
    let messages = number(&native, "queue.buffering.max.messages");
    let bytes = number(&native, "queue.buffering.max.kbytes") << 10;
    let has_spare_room = (messages == 0 || messages >= SPARE) && bytes >= SPARE * record_bytes;
    Ok(Effective { config, partitioning, limits, has_spare_room, strict, idempotence_off })
}

/// Checks what does not depend on our defaults. Returns the values that librdkafka has parsed.
fn checked(user: &ClientConfig) -> Result<NativeClientConfig, ConfigError> {
    values::check(user)?;
    names::check(user)?;
    let read = native(user)?;
    if number(&read, "test.mock.num.brokers") == 0 && value(&read, servers::SERVERS).is_none() {
        return Err(ConfigError::NoBootstrapServers);
    }
    servers::check(user, &read)?;
    features::check_mechanism(&read, !is_unset(user, "sasl.mechanisms"))?;
    files::check(user, &read)?;
    if is_true(&read, "delivery.report.only.error") {
        let reason = "the producer needs a delivery report for every record; leave it out";
        return Err(invalid("delivery.report.only.error", reason));
    }
    Ok(read)
}

/// Whether `user` sets `key` under none of its names.
fn is_unset(user: &ClientConfig, key: &str) -> bool {
    names::used(user, key).is_none()
}

fn configured_partitioner(user: &ClientConfig, read: &NativeClientConfig) -> Result<Partitioner, ConfigError> {
    if is_unset(user, "partitioner") {
        return Ok(Partitioner::default());
    }
    value(read, "partitioner").and_then(|name| Partitioner::named(&name)).ok_or_else(|| {
        invalid(
            "partitioner",
            "librdkafka has this partitioner, but this producer has not: use `Librdkafka::partitioner`",
        )
    })
}

fn set_defaults(config: &mut ClientConfig, user: &ClientConfig, read: &NativeClientConfig) {
    // The driver has batched the records before, and the pool limits the records in flight.
    for (key, value) in
        [("linger.ms", "0"), ("queue.buffering.max.messages", "0"), ("queue.buffering.max.kbytes", "2147483647")]
    {
        if is_unset(user, key) {
            config.set(key, value);
        }
    }
    // After its first connection, which is not used for records, librdkafka waits for half of this time.
    if is_unset(user, "reconnect.backoff.ms") {
        let longest = match is_unset(user, "reconnect.backoff.max.ms") {
            true => MAX_RECONNECT_MS,
            false => number(read, "reconnect.backoff.max.ms"),
        };
        config.set("reconnect.backoff.ms", RECONNECT_MS.min(longest).to_string());
    }
    // A broker that is back is used soon. And librdkafka's thread of a broker does not notice its timeouts while it waits.
    if is_unset(user, "reconnect.backoff.max.ms") {
        let shortest = number(read, "reconnect.backoff.ms");
        config.set("reconnect.backoff.max.ms", MAX_RECONNECT_MS.max(shortest).to_string());
    }
}

/// The builder's timeout replaces the configured one.
fn set_delivery_timeout(
    config: &mut ClientConfig,
    user: &ClientConfig,
    read: &NativeClientConfig,
    timeout: Option<Duration>,
) {
    if let Some(timeout) = timeout {
        for name in names::all(DELIVERY_TIMEOUT) {
            config.remove(name);
        }
        // 0 would mean no limit to librdkafka.
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128);
        config.set(DELIVERY_TIMEOUT, milliseconds.to_string());
    } else if is_unset(user, DELIVERY_TIMEOUT) {
        let transactional = value(read, TRANSACTIONAL_ID).is_some();
        let limit = if transactional { number(read, "transaction.timeout.ms") } else { u64::MAX };
        config.set(DELIVERY_TIMEOUT, DELIVERY_TIMEOUT_MS.min(limit).to_string());
    }
}

/// librdkafka's own timeout does not fire. It would give the producer a new epoch, under which librdkafka sends what is in flight again,
/// and records would be in the log twice (librdkafka's issue 4953). 0, for no limit, would spoil its statistics.
fn never_time_out(config: &mut ClientConfig) {
    for name in names::all(DELIVERY_TIMEOUT) {
        config.remove(name);
    }
    config.set(DELIVERY_TIMEOUT, i32::MAX.to_string());
}

/// How long records wait for a topic that does not exist: as long as librdkafka has them wait, or until shortly before their delivery
/// timeout. librdkafka says then that they are not in the log, which the producer's own timeout cannot know.
fn propagation(delivery_timeout: Duration) -> Duration {
    let shortly_before = delivery_timeout.saturating_sub(Duration::from_secs(2)).max(delivery_timeout / 2);
    shortly_before.min(Duration::from_secs(30))
}

/// Checks that tokens come from exactly one source, if tokens are needed.
fn check_tokens(native: &NativeClientConfig, has_provider: bool) -> Result<(), ConfigError> {
    let is = |key: &str, value: &str| native.get(key).is_ok_and(|found| found.eq_ignore_ascii_case(value));
    let has = |key: &str, part: &str| native.get(key).is_ok_and(|found| found.to_ascii_lowercase().contains(part));
    // librdkafka itself reports a build without OAUTHBEARER.
    let needed = has("security.protocol", "sasl_")
        && is("sasl.mechanisms", "OAUTHBEARER")
        && has("builtin.features", "sasl_oauthbearer");
    let own = [(UNSECURED_TOKENS, "true"), ("sasl.oauthbearer.method", "oidc")];
    match own.into_iter().find(|(key, value)| is(key, value)) {
        Some((key, _)) if has_provider => Err(invalid(
            key,
            "librdkafka gets the tokens itself with this value; leave it out, or leave out the token provider",
        )),
        None if needed && !has_provider => {
            Err(invalid("sasl.mechanisms", "OAUTHBEARER needs a token provider: set one with `Librdkafka::oauth`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read::{DEBUG, INFO, log_level};

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
    fn s17_records_of_a_topic_that_does_not_exist_end_before_their_timeout() {
        let found = |pairs: &[(&str, &str)]| result(pairs, None).config.get(PROPAGATION).map(str::to_owned);
        for (timeout, longest) in [("120000", "30000"), ("20000", "18000"), ("3000", "1500"), ("1", "0")] {
            assert_eq!(found(&[("message.timeout.ms", timeout)]).as_deref(), Some(longest), "{timeout}");
        }
        assert_eq!(found(&[("message.timeout.ms", "0")]), None, "there is no timeout");
        assert_eq!(found(&[("message.timeout.ms", "3000"), (PROPAGATION, "7")]).as_deref(), Some("7"));
    }

    #[test]
    fn defaults_are_set_for_keys_that_the_user_leaves_out() {
        let plain = result(&[], None);
        assert_eq!(plain.config.get("linger.ms"), Some("0"));
        assert_eq!(plain.config.get("enable.idempotence"), Some("true"));
        assert_eq!(plain.config.get("queue.buffering.max.messages"), Some("0"));
        assert_eq!(plain.config.get("reconnect.backoff.max.ms"), Some("1000"));
        assert_eq!(plain.config.get("reconnect.backoff.ms"), Some("20"));
        let short = result(&[("reconnect.backoff.max.ms", "7")], None);
        assert_eq!(short.config.get("reconnect.backoff.ms"), Some("7"), "at most `reconnect.backoff.max.ms`");
        assert_eq!(plain.limits.record_bytes, 1_000_000);
        assert_eq!(plain.partitioning.sticky_time, Duration::from_millis(10));
        assert_eq!(plain.partitioning.sticky_bytes, 1_000_000);

        let own =
            result(&[("queue.buffering.max.ms", "7"), ("acks", "1"), ("queue.buffering.max.messages", "9")], None);
        assert_eq!(own.config.get("linger.ms"), None, "its alias is set");
        assert_eq!(own.config.get("enable.idempotence"), Some("false"));
        assert_eq!(own.config.get("queue.buffering.max.messages"), Some("9"));
        for (least, longest) in [("50", "1000"), ("0x7d0", "2000")] {
            let long = result(&[("reconnect.backoff.ms", least)], None);
            assert_eq!(long.config.get("reconnect.backoff.max.ms"), Some(longest), "at least {least}");
        }
    }

    #[test]
    fn the_builders_delivery_timeout_comes_first_then_the_users_then_kafkas() {
        let timeout = |pairs: &[_], own| result(pairs, own).limits.delivery_timeout;
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
    fn s18_strict_idempotence_is_a_matter_of_librdkafkas_settings() {
        let set = |pairs: &[(&str, &str)]| {
            let Effective { config, strict, .. } = result(pairs, None);
            let get = |key| config.get(key).map(str::to_owned);
            (
                strict,
                [get("enable.idempotence"), get("max.in.flight"), get("enable.gapless.guarantee"), get(own::STRICT)],
            )
        };
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(set(&[(own::STRICT, "true")]), (true, [some("true"), some("1"), some("true"), None]));
        for pairs in [&[][..], &[(own::STRICT, "false")], &[(own::STRICT, "true"), ("transactional.id", "t")]] {
            assert_eq!(set(pairs), (false, [some("true"), None, None, None]), "{pairs:?}");
        }
    }

    #[test]
    fn no_answer_is_due_while_librdkafka_lingers() {
        let timeout = |pairs: &[_]| {
            let Effective { config, partitioning, limits, .. } = result(pairs, None);
            assert_eq!(partitioning.availability_timeout, limits.availability_timeout);
            assert!(config.config_map().into_keys().all(|key| !key.starts_with("partitioner.")));
            limits.availability_timeout.map(|timeout| timeout.as_millis())
        };
        const KEY: &str = "partitioner.availability.timeout.ms";
        assert_eq!(timeout(&[]), Some(1000));
        assert_eq!(timeout(&[("linger.ms", "50")]), Some(1050));
        assert_eq!([timeout(&[(KEY, "0"), ("linger.ms", "50")]), timeout(&[(KEY, "7")])], [None, Some(7)]);
        let other = result(&[("partitioner.adaptive.partitioning.enable", "false")], None);
        assert!(!other.partitioning.adaptive && result(&[], None).partitioning.adaptive);
    }

    #[test]
    fn s17_librdkafkas_own_timeout_does_not_fire() {
        let native_timeout = |pairs: &[_], own| {
            let native = native(&result(pairs, own).config).unwrap();
            number(&native, DELIVERY_TIMEOUT)
        };
        const NEVER: u64 = i32::MAX as u64;
        assert_eq!([native_timeout(&[], None), native_timeout(&[], Some(700))], [NEVER; 2]);
        for key in names::all(DELIVERY_TIMEOUT) {
            assert_eq!([native_timeout(&[(key, "0")], None), native_timeout(&[(key, "5000")], Some(700))], [NEVER; 2]);
        }
        // librdkafka refuses more than `transaction.timeout.ms`. A transaction with a failed record is aborted in any case.
        let transactional = ("transactional.id", "t");
        assert_eq!(native_timeout(&[transactional], None), 60_000);
        assert_eq!(native_timeout(&[transactional, ("transaction.timeout.ms", "9000")], None), 9000);
        assert_eq!(native_timeout(&[transactional, ("message.timeout.ms", "5000")], Some(700)), 700);
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
            let mut none = ClientConfig::new();
            none.set(key, value);
            let none = effective(&none, None, None, false).map(|_| ());
            assert_eq!(none, Err(ConfigError::NoBootstrapServers), "{key}");
        }
    }

    #[test]
    fn s34_tokens_come_from_one_source() {
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
        // A configuration has no order, so this is tried several times.
        for _ in 0..20 {
            let pairs = [("request.required.acks", "all"), ("acks", "1")];
            let error = error(&pairs).to_string();
            assert!(error.contains("request.required.acks") && error.contains("`acks`"), "{error}");
            let same = result(&[("linger.ms", "5"), ("queue.buffering.max.ms", "5.0")], None);
            assert_eq!(same.config.get("enable.idempotence"), Some("true"));
        }
    }

    #[test]
    fn librdkafkas_partitioner_names_are_accepted() {
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
        assert_eq!(partitioner(&[("acks", "all")]), "Murmur2Random", "whatever other topic settings there are");
    }

    #[test]
    fn s34_the_log_s_level_is_librdkafkas() {
        let level = |pairs: &[_]| log_level(&native(&config(pairs)).unwrap());
        assert_eq!(level(&[]), INFO);
        assert_eq!(level(&[("log_level", "0x3")]), 3);
        assert_eq!(level(&[("log_level", "3"), ("debug", ",")]), 3, "an empty list");
        assert_eq!(level(&[("log_level", "3"), ("debug", "topic")]), DEBUG);
    }
}
