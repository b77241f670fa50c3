//! Values that librdkafka reads as something else than what is written: it stops at the first letter of a number.

use rdkafka::config::ClientConfig;

use super::keys::{self, Kind};
use super::{invalid, native, value};
use crate::ConfigError;
use crate::config::secrets::is_secret;

/// The names that librdkafka takes.
const PARTITIONERS: &str = "random, consistent, consistent_random, murmur2, murmur2_random, fnv1a, fnv1a_random";

/// What a number counts, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Milliseconds,
    Seconds,
    Bytes,
    Kibibytes,
    Records,
    None,
}

/// Checks each setting for itself, in the order of their keys: librdkafka has to know it, a producer has to have it, and the
/// number that it is read as has to be the one that is written.
pub(super) fn check(user: &ClientConfig) -> Result<(), ConfigError> {
    for key in user.config_map().into_keys() {
        let Some(written) = user.get(key) else { continue };
        if keys::is_consumers(key) {
            return Err(ConfigError::ConsumerKey { key: key.into() });
        }
        if key.contains('\0') || written.contains('\0') {
            return Err(invalid(key, "there is a NUL byte; leave it out"));
        }
        let mut alone = ClientConfig::new();
        alone.set(key, written);
        let native = native(&alone)?;
        let read = value(&native, keys::of_topics(key)).unwrap_or_default();
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

/// Whether what librdkafka has read is all that is written. If it has read no number, it is.
fn is_read_as_written(written: &str, read: &str) -> bool {
    let written = written.trim();
    let Ok(number) = read.parse::<f64>() else { return true };
    if written == read {
        return !number.is_nan();
    }
    // It shows six digits of what may be a fraction.
    let is_near = |other: f64| (other - number).abs() <= number.abs() * 1e-5;
    let whole = integer(written).is_some_and(|whole| is_near(whole as f64));
    let starts =
        written.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_digit() || first == '.');
    // A word may stand for a number, as `all` does.
    whole || written.parse().is_ok_and(is_near) || (!starts && number.is_finite())
}

/// C's `strtol` with base 0, of all of `text`.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(digits, base).ok().map(|number| sign * number)
}

fn misread(key: &str, written: &str, read: &str) -> String {
    format!("librdkafka would read `{written}` as {read}; {}", instead(key, written))
}

/// Why librdkafka refuses a value, in words that say what to write; `reason` is what it says itself.
pub(super) fn refusal(key: &str, written: &str, reason: &str) -> String {
    match keys::kind(key) {
        Some(Kind::Number) => match (range(reason), integer(written.trim())) {
            (Some(range), Some(_)) => format!("`{written}` is not from {range}"),
            _ => format!("`{written}` is no whole number; {}", instead(key, written)),
        },
        Some(Kind::Flag) => format!("`{written}` is neither `true` nor `false`"),
        Some(Kind::Choice(choices)) => format!("`{written}` is none of: {choices}"),
        _ if keys::of_topics(key) == "partitioner" => format!("`{written}` is none of: {PARTITIONERS}"),
        Some(Kind::Text) | None => reason.trim().into(),
    }
}

/// The range that librdkafka names.
fn range(reason: &str) -> Option<String> {
    let (least, most) = reason.split_once("outside allowed range ")?.1.trim().split_once("..")?;
    Some(format!("{least} to {most}"))
}

/// What to write instead of what was meant as a number.
fn instead(key: &str, written: &str) -> String {
    if matches!(keys::of_topics(key), "acks" | "request.required.acks") {
        return "write `all`, `0` or `1`".into();
    }
    let unit = Unit::of(key);
    let (what, example) = match unit {
        Unit::Milliseconds => ("milliseconds", 5_000),
        Unit::Seconds => ("seconds", 5),
        Unit::Bytes => ("bytes", 1_000_000),
        Unit::Kibibytes => ("kibibytes", 1_024),
        Unit::Records => ("a number of records", 10_000),
        Unit::None => ("a whole number", 5),
    };
    match unit.converted(written) {
        Some(number) => format!("write {what}: `{number}`"),
        None => format!("write {what}, such as `{example}`"),
    }
}

impl Unit {
    fn of(key: &str) -> Self {
        match key {
            _ if key.ends_with(".ms") => Self::Milliseconds,
            _ if key.ends_with(".seconds") => Self::Seconds,
            _ if key.ends_with(".kbytes") => Self::Kibibytes,
            _ if key.ends_with(".bytes") || key == "batch.size" => Self::Bytes,
            _ if key.ends_with(".messages") => Self::Records,
            _ => Self::None,
        }
    }

    /// What somebody means who writes a number with a unit of time or size.
    fn converted(self, written: &str) -> Option<u64> {
        let text = written.trim().to_ascii_lowercase();
        let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..end].parse().ok()?;
        let factor = match (self, text[end..].trim()) {
            (_, "e3") | (Self::Bytes, "kb") | (Self::Milliseconds, "s" | "sec" | "seconds") => 1_000,
            (_, "e6") | (Self::Bytes, "mb") => 1_000_000,
            (Self::Bytes | Self::Records | Self::None, "k") => 1_000,
            (Self::Bytes | Self::Records | Self::None, "m") => 1_000_000,
            (Self::Bytes, "kib") | (Self::Kibibytes, "mib") => 1 << 10,
            (Self::Bytes, "mib") => 1 << 20,
            (Self::Bytes, "b") | (Self::Milliseconds, "ms") | (Self::Seconds, "s") | (Self::Kibibytes, "kib") => 1,
            (Self::Milliseconds, "m" | "min") => 60_000,
            _ => return None,
        };
        number.checked_mul(factor)
    }
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
    fn s33_numbers_are_taken_as_librdkafka_writes_and_reads_them() {
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
    fn s33_a_value_that_is_read_as_another_is_refused_with_its_unit() {
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
            ("linger.ms", "soon", "`soon` is no whole number; write milliseconds"),
            ("queue.buffering.max.ms", "5s", "milliseconds: `5000`"),
            ("topic.delivery.timeout.ms", "2m", "milliseconds: `120000`"),
            ("queue.buffering.max.messages", "10k", "records: `10000`"),
            ("queue.buffering.max.kbytes", "64mib", "kibibytes: `65536`"),
            ("retries", "3x", "a whole number"),
            ("retries", "2147483648", "0 to 2147483647"),
            ("retries", "-1", "0 to 2147483647"),
            ("acks", "1of3", "`all`, `0` or `1`"),
            ("acks", "many", "`all`, `0` or `1`"),
            ("acks", "", "`all`, `0` or `1`"),
            ("enable.idempotence", "yes", "`true` nor `false`"),
            ("compression.type", "zip", "none, gzip, snappy, lz4, zstd"),
            ("partitioner", "nearest", "murmur2_random"),
        ] {
            let text = error(key, written).unwrap_or_else(|| panic!("{key}={written} is taken"));
            let all = [key, written, instead].iter().all(|part| text.contains(part));
            assert!(all, "{key}={written}: {text}");
        }
    }
}
