//! The values that librdkafka has parsed.

use std::time::Duration;

use rdkafka::config::NativeClientConfig;

use crate::config::error::ConfigError;

/// Levels of librdkafka's log.
pub(crate) const INFO: i32 = 6;
pub(super) const DEBUG: i32 = 7;

/// The value of `key` under any of its names; `None` if it is empty or blank.
pub(super) fn value(native: &NativeClientConfig, key: &str) -> Option<String> {
    native.get(key).ok().filter(|value| !value.trim().is_empty())
}

/// The value of `key`, 0 if it is not a number.
pub(super) fn number(native: &NativeClientConfig, key: &str) -> u64 {
    value(native, key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Whether `key` is true.
pub(crate) fn is_true(native: &NativeClientConfig, key: &str) -> bool {
    value(native, key).is_some_and(|value| value == "true")
}

/// librdkafka's linger.
pub(super) fn linger(native: &NativeClientConfig) -> Duration {
    let milliseconds = value(native, "linger.ms").and_then(|value| value.parse().ok()).unwrap_or(0.0);
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()
}

/// The log level in force. librdkafka raises it to debug if `debug` is set. rdkafka sets another level, which follows the
/// crate `log`; it is not used.
pub(crate) fn log_level(native: &NativeClientConfig) -> i32 {
    let configured = native.get("log_level").ok().and_then(|level| level.parse().ok());
    if value(native, "debug").is_some() { DEBUG } else { configured.unwrap_or(INFO) }
}

pub(super) fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::InvalidValue { key: key.into(), reason: reason.into() }
}
