//! The settings that this backend has and librdkafka has not. Those of partitions are named as in Kafka's Java client, and mean the same.

use std::time::Duration;

use rdkafka::config::ClientConfig;

use crate::config::error::ConfigError;
use crate::config::read::invalid;
use crate::config::refusal::{self, integer};

const AVAILABILITY_TIMEOUT: &str = "partitioner.availability.timeout.ms";
const ADAPTIVE: &str = "partitioner.adaptive.partitioning.enable";
pub(super) const STRICT: &str = "enable.strict.idempotence";

/// Java's default is 0, for any time. But then records that could go anywhere gather in front of a leader that has stopped, until they
/// fill the pool and no other record is accepted.
const AVAILABILITY_TIMEOUT_MS: i32 = 1000;

/// The settings' values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    /// How long a partition may leave records without an answer; `None` for any time.
    pub(super) availability_timeout: Option<Duration>,
    /// Whether records without a key prefer partitions that answer soon.
    pub(super) adaptive: bool,
    /// Whether idempotence is strict.
    pub(super) strict: bool,
}

/// Reads these settings. Returns the configuration without them, which librdkafka gets.
pub(super) fn take(user: &ClientConfig) -> Result<(ClientConfig, Own), ConfigError> {
    let mut config = user.clone();
    let milliseconds = user.get(AVAILABILITY_TIMEOUT).map_or(Ok(AVAILABILITY_TIMEOUT_MS), milliseconds)?;
    let flag = |key, unset| user.get(key).map_or(Ok(unset), |written| flag(key, written));
    let (adaptive, strict) = (flag(ADAPTIVE, true)?, flag(STRICT, false)?);
    config.remove(AVAILABILITY_TIMEOUT);
    config.remove(ADAPTIVE);
    config.remove(STRICT);
    let availability_timeout = (milliseconds > 0).then(|| Duration::from_millis(milliseconds.unsigned_abs().into()));
    Ok((config, Own { availability_timeout, adaptive, strict }))
}

fn milliseconds(written: &str) -> Result<i32, ConfigError> {
    let number = integer(written.trim()).and_then(|number| i32::try_from(number).ok());
    number.filter(|number| *number >= 0).ok_or_else(|| {
        let range = format!("outside allowed range 0..{}", i32::MAX);
        invalid(AVAILABILITY_TIMEOUT, &refusal::reason(AVAILABILITY_TIMEOUT, written, &range))
    })
}

/// Accepts what librdkafka accepts.
fn flag(key: &str, written: &str) -> Result<bool, ConfigError> {
    match written.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" => Ok(false),
        _ => Err(invalid(key, &refusal::reason(key, written, ""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{self, Kind};

    fn taken(pairs: &[(&str, &str)]) -> Result<Own, ConfigError> {
        let mut config = ClientConfig::new();
        config.set("client.id", "x");
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        let (config, own) = take(&config)?;
        assert_eq!(config.config_map().into_keys().collect::<Vec<_>>(), ["client.id"]);
        Ok(own)
    }

    #[test]
    fn s33_the_backends_own_settings_are_read() {
        let timeout = |written| taken(&[(AVAILABILITY_TIMEOUT, written)]).map(|own| own.availability_timeout);
        let ms = |ms| Ok(Some(Duration::from_millis(ms)));
        assert_eq!(
            taken(&[]),
            Ok(Own { availability_timeout: Some(Duration::from_secs(1)), adaptive: true, strict: false })
        );
        assert_eq!([timeout("0"), timeout("2500"), timeout(" 0x10")], [Ok(None), ms(2500), ms(16)]);
        for (written, adaptive) in [("true", true), ("F", false), ("0", false), (" True ", true)] {
            assert_eq!(taken(&[(ADAPTIVE, written)]).map(|own| own.adaptive), Ok(adaptive), "{written}");
        }
        assert_eq!(taken(&[(STRICT, "T")]).map(|own| own.strict), Ok(true));
        assert_eq!(keys::kind(STRICT), Some(Kind::Flag));
        assert_eq!(keys::kind(AVAILABILITY_TIMEOUT), Some(Kind::Number));
        assert_eq!(keys::kind(ADAPTIVE), Some(Kind::Flag));
    }

    #[test]
    fn s33_invalid_values_are_refused_as_librdkafkas_are() {
        for (key, written, instead) in [
            (AVAILABILITY_TIMEOUT, "1s", "write milliseconds: `1000`"),
            (AVAILABILITY_TIMEOUT, "", "is not an integer; write milliseconds"),
            (AVAILABILITY_TIMEOUT, "-1", "outside the range 0 to 2147483647"),
            (AVAILABILITY_TIMEOUT, "2147483648", "outside the range 0 to 2147483647"),
            (ADAPTIVE, "yes", "`yes` is neither `true` nor `false`"),
            (STRICT, "always", "`always` is neither `true` nor `false`"),
            (ADAPTIVE, "", "is neither `true` nor `false`"),
        ] {
            let text = taken(&[(key, written)]).expect_err(written).to_string();
            assert!(text.contains(key) && text.contains(instead), "{key}={written}: {text}");
        }
    }
}
