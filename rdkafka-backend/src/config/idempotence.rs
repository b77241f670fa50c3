//! Whether the producer is idempotent. It is, unless the application has set something that cannot go with it.

use std::fmt;

use rdkafka::config::{ClientConfig, NativeClientConfig};

use super::{invalid, is_true, names, value};
use crate::ConfigError;

/// Why the producer is not idempotent: what the application has set, and librdkafka does not take together with
/// idempotence.
///
/// When a broker's answer gets lost, or a leader moves, records are sent again. Without idempotence the broker does not know
/// them: they may be in the log twice, and after records that were produced later, and are reported as delivered all the
/// same.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotenceOff {
    /// The key that the application has set.
    pub key: String,
    /// Its value, as it was set.
    pub value: String,
    /// What idempotence needs there.
    pub needed: &'static str,
}

impl IdempotenceOff {
    /// Whether the application has turned it off by its own name, and knows it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.key == KEY
    }
}

impl fmt::Display for IdempotenceOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, needed } = self;
        write!(
            f,
            "the producer is not idempotent, as `{key}` is `{value}` and would have to be {needed}: \
             a retry may write records twice and out of order"
        )
    }
}

/// What librdkafka wants of a setting in an idempotent producer.
struct Condition {
    key: &'static str,
    needed: &'static str,
    /// Of the value that librdkafka has read.
    holds: fn(&str) -> bool,
}

/// `rd_kafka_conf_finalize` and `rd_kafka_topic_conf_finalize`. Keys that are left alone it sets by itself.
const CONDITIONS: [Condition; 5] = [
    Condition { key: "acks", needed: "`all`", holds: |value| value == "-1" },
    Condition { key: "retries", needed: "at least 1", holds: |value| value != "0" },
    Condition {
        key: "max.in.flight",
        needed: "5 at most",
        holds: |value| value.parse::<u32>().is_ok_and(|count| count <= 5),
    },
    Condition { key: "queuing.strategy", needed: "`fifo`", holds: |value| value == "fifo" },
    Condition { key: "queue.buffering.backpressure.threshold", needed: "1", holds: |value| value == "1" },
];

const KEY: &str = "enable.idempotence";

/// Why the producer is not idempotent, `None` if it is.
pub(super) fn decide(
    user: &ClientConfig,
    read: &NativeClientConfig,
    transactional: bool,
) -> Result<Option<IdempotenceOff>, ConfigError> {
    let is_set = user.get(KEY).is_some();
    let off = |key: &str, needed| {
        let value = user.get(key).unwrap_or_default().to_owned();
        Ok(Some(IdempotenceOff { key: key.to_owned(), value, needed }))
    };
    if is_set && !is_true(read, KEY) {
        return match transactional {
            true => Err(invalid(KEY, "`transactional.id` is set, and transactions need it to be true")),
            false => off(KEY, "true"),
        };
    }
    let broken = CONDITIONS.iter().find_map(|condition| {
        let name = names::used(user, condition.key)?;
        let holds = value(read, condition.key).is_none_or(|value| (condition.holds)(&value));
        (!holds).then_some((name, condition.needed))
    });
    match broken {
        None => Ok(None),
        Some((name, needed)) if transactional => {
            Err(invalid(name, &format!("`transactional.id` is set, and transactions need it to be {needed}")))
        }
        Some((name, needed)) if is_set => {
            Err(invalid(name, &format!("`{KEY}` is true, which needs it to be {needed}")))
        }
        Some((name, needed)) => off(name, needed),
    }
}

/// Sets what was decided.
pub(super) fn apply(config: &mut ClientConfig, off: Option<&IdempotenceOff>) {
    config.set(KEY, if off.is_none() { "true" } else { "false" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::native;

    fn decided(pairs: &[(&str, &str)]) -> Result<Option<String>, ConfigError> {
        let mut config = ClientConfig::new();
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        let transactional = config.get("transactional.id").is_some();
        let off = decide(&config, &native(&config)?, transactional)?;
        Ok(off.map(|off| off.key))
    }

    #[test]
    fn s18_only_a_value_that_conflicts_turns_idempotence_off() {
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
    fn s18_what_was_asked_for_and_cannot_be_is_refused() {
        for wish in [("enable.idempotence", "t"), ("transactional.id", "t")] {
            let error = decided(&[wish, ("topic.acks", "1")]).expect_err("refused").to_string();
            assert!(error.contains("`topic.acks`") && error.contains(wish.0), "{error}");
        }
        let error = decided(&[("enable.idempotence", "f"), ("transactional.id", "t")]).expect_err("refused");
        assert!(matches!(&error, ConfigError::InvalidValue { key, .. } if key == KEY), "{error}");
    }
}
