//! Messages for values that librdkafka refuses or misreads.

use crate::config::keys::{self, Kind};

/// The names that librdkafka accepts.
const PARTITIONERS: &str = "random, consistent, consistent_random, murmur2, murmur2_random, fnv1a, fnv1a_random";

/// The unit of a number, by the name of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Milliseconds,
    Seconds,
    Bytes,
    Kibibytes,
    Records,
    None,
}

/// Why librdkafka refuses a value, and what to write instead. `reason` is librdkafka's own text.
pub(super) fn reason(key: &str, written: &str, reason: &str) -> String {
    match keys::kind(key) {
        Some(Kind::Number) => match (range(reason), integer(written.trim())) {
            (Some(range), Some(_)) => format!("`{written}` is outside the range {range}"),
            _ => format!("`{written}` is not an integer; {}", instead(key, written)),
        },
        Some(Kind::Flag) => format!("`{written}` is neither `true` nor `false`"),
        Some(Kind::Choice(choices)) => format!("`{written}` is not one of: {choices}"),
        _ if keys::without_prefix(key) == "partitioner" => format!("`{written}` is not one of: {PARTITIONERS}"),
        Some(Kind::Text) | None => reason.trim().into(),
    }
}

/// The range in librdkafka's text.
fn range(reason: &str) -> Option<String> {
    let (least, most) = reason.split_once("outside allowed range ")?.1.trim().split_once("..")?;
    Some(format!("{least} to {most}"))
}

/// What to write instead of `written`.
fn instead(key: &str, written: &str) -> String {
    if matches!(keys::without_prefix(key), "acks" | "request.required.acks") {
        return "write `all`, `0` or `1`".into();
    }
    let unit = Unit::of(key);
    let (what, example) = match unit {
        Unit::Milliseconds => ("milliseconds", 5_000),
        Unit::Seconds => ("seconds", 5),
        Unit::Bytes => ("bytes", 1_000_000),
        Unit::Kibibytes => ("kibibytes", 1_024),
        Unit::Records => ("a number of records", 10_000),
        Unit::None => ("an integer", 5),
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

    /// The number that was meant, if `written` has a unit of time or size.
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

/// What librdkafka would read, and what to write instead.
pub(super) fn misread(key: &str, written: &str, read: &str) -> String {
    format!("librdkafka would read `{written}` as {read}; {}", instead(key, written))
}

/// The integer that `text` is as a whole, as by C's `strtol` with base 0.
pub(super) fn integer(text: &str) -> Option<i128> {
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
