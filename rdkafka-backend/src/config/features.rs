//! What this build of librdkafka lacks, by the names of this crate's features.

use rdkafka::config::NativeClientConfig;

use crate::config::error::ConfigError;
use crate::config::read::{invalid, value};

/// A word in librdkafka's reason, and the feature that is missing. The first match counts.
const WANTED: [(&str, &str); 5] =
    [("libcurl", "curl"), ("OpenSSL", "ssl"), ("libzstd", "zstd"), ("zlib", "libz"), ("libsasl2", "sasl")];

/// The beginning of a mechanism's name, its name in `builtin.features`, and the feature that brings it.
const MECHANISMS: [(&str, &str, &str); 4] = [
    ("GSSAPI", "sasl_gssapi", "sasl"),
    ("PLAIN", "sasl_plain", "sasl"),
    ("SCRAM-SHA-", "sasl_scram", "ssl"),
    ("OAUTHBEARER", "sasl_oauthbearer", "ssl"),
];

const MECHANISM: &str = "sasl.mechanisms";

/// The missing feature, if librdkafka refuses a key because of one. If librdkafka was built with a library that is too old, no
/// feature helps.
pub(super) fn missing(reason: &str) -> Option<&'static str> {
    let is_about = reason.contains("at build time") && !reason.contains(">=");
    WANTED.iter().find(|(mark, _)| is_about && reason.contains(mark)).map(|(_, feature)| *feature)
}

/// Checks that this build has the SASL mechanism, if SASL is used.
pub(super) fn check_mechanism(read: &NativeClientConfig, is_set: bool) -> Result<(), ConfigError> {
    if !value(read, "security.protocol").is_some_and(|protocol| protocol.starts_with("sasl_")) {
        return Ok(());
    }
    let mechanism = value(read, MECHANISM).unwrap_or_default().to_ascii_uppercase();
    let built = value(read, "builtin.features").unwrap_or_default();
    let found = MECHANISMS.iter().find(|(name, ..)| mechanism.starts_with(name));
    match found {
        None => Err(invalid(
            MECHANISM,
            &format!("`{mechanism}` is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI"),
        )),
        Some((_, part, _)) if built.split(',').any(|has| has == *part) => Ok(()),
        Some((.., feature)) if is_set => Err(ConfigError::MissingFeature { key: MECHANISM.into(), feature }),
        Some((_, _, feature)) => Err(invalid(
            MECHANISM,
            &format!(
                "it is not set, and librdkafka's default, {mechanism}, is not in this build; set PLAIN, SCRAM-SHA-256 or \
                 SCRAM-SHA-512, as the broker requires, or enable the feature `{feature}`"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vendored;

    #[test]
    fn s33_each_reason_of_a_build_that_lacks_something_names_a_feature() {
        let Some(source) = vendored::file("src/rdkafka_conf.c") else { return };
        // Joins the string literals that C joins.
        let joined: String = source.replace(['\\', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        let joined = joined.replace("\" \"", "");
        let reasons: Vec<_> = joined.split('"').filter(|text| text.ends_with("at build time")).collect();
        assert!(reasons.len() >= 8, "{reasons:?}");
        for reason in reasons {
            // These do not depend on a feature.
            let is_fixed =
                [">=", "snappy", "libdl", "SO_KEEPALIVE", "TCP_NODELAY"].iter().any(|part| reason.contains(part));
            assert_eq!(missing(reason).is_none(), is_fixed, "{reason}");
        }
    }
}
