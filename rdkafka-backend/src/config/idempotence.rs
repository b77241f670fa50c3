//! Whether the producer is idempotent. It is, unless the application has set a value that excludes it. And what strict idempotence
//! needs.

use std::fmt;

use rdkafka::config::{ClientConfig, NativeClientConfig};

use crate::config::error::ConfigError;
use crate::config::names;
use crate::config::own::STRICT;
use crate::config::read::{invalid, is_true, value};

/// Why the producer is not idempotent: the application has set a value that librdkafka does not allow with idempotence.
///
/// When a broker's answer is lost or a leader moves, librdkafka sends records again. Without idempotence the broker does not
/// recognise them: they may be in the log twice, or behind records that were produced later, and they are still reported as
/// delivered.
///
/// ```
/// use aioproducer_rdkafka::{Event, Events};
///
/// async fn warn_about_duplicates(mut events: Events) {
///     while let Some(event) = events.next().await {
///         if let Event::IdempotenceOff(off) = event {
///             eprintln!("set `{}` to {} to avoid duplicates", off.key, off.needed);
///         }
///     }
/// }
/// # let _ = warn_about_duplicates;
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotenceOff {
    /// The key that the application has set.
    pub key: String,
    /// The value that the application has set.
    pub value: String,
    /// The value that idempotence requires, in words, such as "at most 5".
    pub needed: &'static str,
}

impl IdempotenceOff {
    /// Whether the application has set `enable.idempotence` itself to false.
    pub(crate) fn is_explicit(&self) -> bool {
        self.key == KEY
    }
}

impl fmt::Display for IdempotenceOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, needed } = self;
        write!(
            f,
            "the producer is not idempotent, because `{key}` is `{value}` and idempotence requires {needed}: a retry may \
             write records twice and out of order"
        )
    }
}

/// What librdkafka requires of a key in an idempotent producer.
struct Condition {
    key: &'static str,
    needed: &'static str,
    /// Checks the value that librdkafka has parsed.
    holds: fn(&str) -> bool,
}

/// As in `rd_kafka_conf_finalize` and `rd_kafka_topic_conf_finalize`. librdkafka sets the keys that are not set.
const CONDITIONS: [Condition; 5] = [
    Condition { key: "acks", needed: "`all`", holds: |value| value == "-1" },
    Condition { key: "retries", needed: "at least 1", holds: |value| value != "0" },
    Condition {
        key: "max.in.flight",
        needed: "at most 5",
        holds: |value| value.parse::<u32>().is_ok_and(|count| count <= 5),
    },
    Condition { key: "queuing.strategy", needed: "`fifo`", holds: |value| value == "fifo" },
    Condition { key: "queue.buffering.backpressure.threshold", needed: "1", holds: |value| value == "1" },
];

/// What strict idempotence needs beside that. With one request in flight, none fails because an earlier one did; and nothing leaves a gap
/// in the numbers of a partition's records without a fatal error. So librdkafka has no reason to number records anew which may be in the
/// log already (its issue 4953).
const STRICT_CONDITIONS: [Condition; 3] = [
    Condition { key: "max.in.flight", needed: "1", holds: |value| value == "1" },
    Condition { key: GAPLESS, needed: "true", holds: |value| value == "true" },
    Condition { key: "retries", needed: "2147483647, the default", holds: |value| value == "2147483647" },
];

const KEY: &str = "enable.idempotence";
const GAPLESS: &str = "enable.gapless.guarantee";

/// Why the producer is not idempotent; `None` if it is.
pub(super) fn decide(
    user: &ClientConfig,
    read: &NativeClientConfig,
    transactional: bool,
    strict: bool,
) -> Result<Option<IdempotenceOff>, ConfigError> {
    let is_set = user.get(KEY).is_some();
    let off = |key: &str, needed| {
        let value = user.get(key).unwrap_or_default().to_owned();
        Ok(Some(IdempotenceOff { key: key.to_owned(), value, needed }))
    };
    if is_set && !is_true(read, KEY) {
        return match transactional {
            true => Err(invalid(KEY, "`transactional.id` is set, and transactions require true")),
            false if strict => Err(invalid(KEY, &format!("`{STRICT}` is true, which requires true"))),
            false => off(KEY, "true"),
        };
    }
    let more = if strict { &STRICT_CONDITIONS[..] } else { &[] };
    let broken = CONDITIONS.iter().chain(more).find_map(|condition| {
        let name = names::used(user, condition.key)?;
        let holds = value(read, condition.key).is_none_or(|value| (condition.holds)(&value));
        (!holds).then_some((name, condition.needed))
    });
    match broken {
        None => Ok(None),
        Some((name, needed)) if transactional => {
            Err(invalid(name, &format!("`transactional.id` is set, and transactions require {needed}")))
        }
        Some((name, needed)) if strict => Err(invalid(name, &format!("`{STRICT}` is true, which requires {needed}"))),
        Some((name, needed)) if is_set => Err(invalid(name, &format!("`{KEY}` is true, which requires {needed}"))),
        Some((name, needed)) => off(name, needed),
    }
}

/// Writes the decision into `config`.
pub(super) fn apply(config: &mut ClientConfig, off: Option<&IdempotenceOff>, strict: bool) {
    config.set(KEY, if off.is_none() { "true" } else { "false" });
    if strict {
        config.set("max.in.flight", "1").set(GAPLESS, "true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::native::native;

    fn decided(pairs: &[(&str, &str)]) -> Result<Option<String>, ConfigError> {
        let mut config = ClientConfig::new();
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        let transactional = config.get("transactional.id").is_some();
        let strict = config.get(STRICT).is_some();
        config.remove(STRICT);
        let off = decide(&config, &native(&config)?, transactional, strict)?;
        Ok(off.map(|off| off.key))
    }

    #[test]
    fn s18_only_a_conflicting_value_turns_idempotence_off() {
        let on: [&[(&str, &str)]; 15] = [
            &[],
            &[("acks", "all")],
            &[("acks", "-1")],
            &[("acks", "All")],
            &[("request.required.acks", " -1")],
            &[("topic.acks", "all")],
            &[("retries", "1")],
            &[("retries", "0x10")],
            &[("message.send.max.retries", "2147483647")],
            &[("max.in.flight", "5")],
            &[("max.in.flight.requests.per.connection", "1")],
            &[("queuing.strategy", "FIFO")],
            &[("queue.buffering.backpressure.threshold", "1")],
            &[("enable.idempotence", "T"), ("acks", "all")],
            &[("transactional.id", "t"), ("retries", "3")],
        ];
        for pairs in on {
            assert_eq!(decided(pairs), Ok(None), "{pairs:?}");
        }
        let off = [
            ("acks", "0"),
            ("acks", "1"),
            ("acks", "2"),
            ("request.required.acks", "1"),
            ("topic.request.required.acks", "0x1"),
            ("retries", "0"),
            ("message.send.max.retries", "00"),
            ("max.in.flight", "6"),
            ("max.in.flight.requests.per.connection", "1000000"),
            ("queuing.strategy", "LiFo"),
            ("topic.queuing.strategy", "lifo"),
            ("queue.buffering.backpressure.threshold", "2"),
            ("enable.idempotence", "0"),
            ("enable.idempotence", "False"),
        ];
        for pair in off {
            assert_eq!(decided(&[pair]), Ok(Some(pair.0.into())), "{pair:?}");
        }
    }

    #[test]
    fn s18_a_conflict_with_explicit_idempotence_is_refused() {
        for explicit in [("enable.idempotence", "t"), ("transactional.id", "t")] {
            let error = decided(&[explicit, ("topic.acks", "1")]).expect_err("refused").to_string();
            assert!(error.contains("`topic.acks`") && error.contains(explicit.0), "{error}");
        }
        let error = decided(&[("enable.idempotence", "f"), ("transactional.id", "t")]).expect_err("refused");
        assert!(matches!(&error, ConfigError::InvalidValue { key, .. } if key == KEY), "{error}");
    }

    #[test]
    fn s18_a_conflict_with_strict_idempotence_is_refused() {
        let strict = (STRICT, "true");
        for (key, value, needed) in [
            ("enable.idempotence", "false", "true"),
            ("request.required.acks", "1", "`all`"),
            ("max.in.flight", "2", "1"),
            ("max.in.flight.requests.per.connection", "5", "1"),
            ("enable.gapless.guarantee", "f", "true"),
            ("message.send.max.retries", "10", "2147483647"),
            ("queuing.strategy", "lifo", "`fifo`"),
        ] {
            let error = decided(&[strict, (key, value)]).expect_err(key).to_string();
            let says = format!("`{STRICT}` is true, which requires {needed}");
            assert!(error.contains(&format!("`{key}`")) && error.contains(&says), "{error}");
        }
        let agree =
            [("max.in.flight", "1"), ("enable.gapless.guarantee", "1"), ("retries", "2147483647"), ("acks", "-1")];
        for pair in agree {
            assert_eq!(decided(&[strict, pair]), Ok(None), "{pair:?}");
        }
    }
}
