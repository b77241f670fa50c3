//! Checks each setting alone. librdkafka ignores what follows the digits of a number, so it may read another value than is
//! written.

use rdkafka::config::ClientConfig;

use crate::config::error::ConfigError;
use crate::config::keys::{self, Kind};
use crate::config::native::native;
use crate::config::read::{invalid, value};
use crate::config::refusal::{integer, misread};
use crate::config::secrets::is_secret;

/// Checks each setting alone, in the order of the keys: librdkafka knows the key, producers use it, and librdkafka reads the
/// number that is written.
pub(super) fn check(user: &ClientConfig) -> Result<(), ConfigError> {
    for key in user.config_map().into_keys() {
        let Some(written) = user.get(key) else { continue };
        if keys::is_consumer_key(key) {
            return Err(ConfigError::ConsumerKey { key: key.into() });
        }
        if key.contains('\0') || written.contains('\0') {
            return Err(invalid(key, "it contains a NUL byte; leave it out"));
        }
        let mut alone = ClientConfig::new();
        alone.set(key, written);
        let native = native(&alone)?;
        let read = value(&native, keys::without_prefix(key)).unwrap_or_default();
        let is_text = matches!(keys::kind(key), Some(Kind::Text));
        if !is_text && !is_read_as_written(written, &read) {
            return Err(match is_secret(key) {
                true => invalid(key, "librdkafka reads another value than is written"),
                false => invalid(key, &misread(key, written, &read)),
            });
        }
    }
    Ok(())
}

/// Whether librdkafka has read the whole number. True if it has not read a number.
fn is_read_as_written(written: &str, read: &str) -> bool {
    let written = written.trim();
    let Ok(number) = read.parse::<f64>() else { return true };
    if written == read {
        return !number.is_nan();
    }
    // librdkafka shows at most six digits of a number that may be a fraction.
    let is_near = |other: f64| (other - number).abs() <= number.abs() * 1e-5;
    let whole = integer(written).is_some_and(|whole| is_near(whole as f64));
    let starts =
        written.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_digit() || first == '.');
    // A word may stand for a number, such as `all`.
    whole || written.parse().is_ok_and(is_near) || (!starts && number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(key: &str, written: &str) -> Option<String> {
        let mut config = ClientConfig::new();
        config.set(key, written);
        check(&config).err().map(|error| error.to_string())
    }

    #[test]
    fn s33_numbers_in_librdkafkas_notations_are_accepted() {
        for (key, written) in [
            ("batch.size", "1000000"),
            ("batch.size", " 0x10000"),
            ("batch.size", "+5"),
            ("retries", "010"),
            ("retries", "0"),
            ("topic.request.timeout.ms", "5000 "),
            ("topic.metadata.refresh.interval.ms", "-1"),
            ("linger.ms", "5"),
            ("linger.ms", "0.5"),
            ("linger.ms", ".5"),
            ("linger.ms", "1e3"),
            ("linger.ms", "010"),
            ("linger.ms", "1234.5678"),
            ("acks", "all"),
            ("acks", "-1"),
            ("client.id", "12 monkeys"),
            ("client.id", "nan"),
            ("client.id", "1e999"),
            ("sasl.password", "0012x"),
            ("broker.version.fallback", "0.10.2"),
            ("enable.idempotence", "1"),
        ] {
            assert_eq!(error(key, written), None, "{key}={written}");
        }
    }

    #[test]
    fn s33_a_misread_value_is_refused_with_its_unit() {
        for (key, written, instead) in [
            ("batch.size", "1MB", "bytes: `1000000`"),
            ("batch.size", "1 MiB", "bytes: `1048576`"),
            ("batch.size", "1.5", "bytes"),
            ("batch.size", "1_000_000", "bytes"),
            ("batch.size", "1e6", "bytes: `1000000`"),
            ("batch.size", "4294967297", "bytes"),
            ("message.max.bytes", "1e6", "bytes: `1000000`"),
            ("message.max.bytes", "10k", "bytes: `10000`"),
            ("receive.message.max.bytes", "100000000b", "bytes: `100000000`"),
            ("linger.ms", "5s", "milliseconds: `5000`"),
            ("linger.ms", "5ms", "milliseconds: `5`"),
            ("linger.ms", "1 min", "milliseconds: `60000`"),
            ("linger.ms", "5,5", "milliseconds"),
            ("linger.ms", "nano", "milliseconds"),
            ("linger.ms", "nan", "milliseconds"),
            ("linger.ms", "soon", "`soon` is not an integer; write milliseconds"),
            ("queue.buffering.max.ms", "5s", "milliseconds: `5000`"),
            ("topic.delivery.timeout.ms", "2m", "milliseconds: `120000`"),
            ("queue.buffering.max.messages", "10k", "records: `10000`"),
            ("queue.buffering.max.kbytes", "64mib", "kibibytes: `65536`"),
            ("retries", "3x", "an integer"),
            ("retries", "2147483648", "0 to 2147483647"),
            ("retries", "-1", "0 to 2147483647"),
            ("acks", "1of3", "`all`, `0` or `1`"),
            ("acks", "many", "`all`, `0` or `1`"),
            ("acks", "", "`all`, `0` or `1`"),
            ("enable.idempotence", "yes", "`true` nor `false`"),
            ("compression.type", "zip", "none, gzip, snappy, lz4, zstd"),
            ("partitioner", "nearest", "murmur2_random"),
        ] {
            let text = error(key, written).unwrap_or_else(|| panic!("{key}={written} is accepted"));
            let all = [key, written, instead].iter().all(|part| text.contains(part));
            assert!(all, "{key}={written}: {text}");
        }
    }
}
