//! The names of librdkafka's settings: some have several.

use rdkafka::config::ClientConfig;

use super::{invalid, native, value};
use crate::ConfigError;

/// Each row has the names of one setting. librdkafka keeps settings of topics apart, which may bear a prefix.
const ALIASES: [&[&str]; 13] = [
    &["acks", "request.required.acks", "topic.acks", "topic.request.required.acks"],
    &["bootstrap.servers", "metadata.broker.list"],
    &["compression.type", "compression.codec"],
    &["linger.ms", "queue.buffering.max.ms"],
    &["max.in.flight", "max.in.flight.requests.per.connection"],
    &["message.timeout.ms", "delivery.timeout.ms", "topic.message.timeout.ms", "topic.delivery.timeout.ms"],
    &["partitioner", "topic.partitioner"],
    &["queuing.strategy", "topic.queuing.strategy"],
    &["request.timeout.ms", "topic.request.timeout.ms"],
    &["retries", "message.send.max.retries"],
    &["sasl.mechanisms", "sasl.mechanism"],
    &["sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"],
    &["sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"],
];

/// The name by which `user` sets `key`, which is the first one of its row, if it does.
pub(super) fn used<'a>(user: &ClientConfig, key: &'a str) -> Option<&'a str> {
    all(key).find(|name| user.get(name).is_some())
}

/// All names of `key`, which is the first one of its row.
pub(super) fn all(key: &str) -> impl Iterator<Item = &str> {
    let others = ALIASES.iter().find(|names| names[0] == key).map_or(&[][..], |names| &names[1..]);
    std::iter::once(key).chain(others.iter().copied())
}

/// Refuses two names of one setting with two values. librdkafka keeps the one that it is told last, and in what order it is
/// told them is chance.
pub(super) fn check(user: &ClientConfig) -> Result<(), ConfigError> {
    for names in ALIASES {
        let mut first = None;
        for name in names {
            let Some(given) = user.get(name) else { continue };
            let mut alone = ClientConfig::new();
            alone.set(*name, given);
            let found = value(&native(&alone)?, names[0]);
            match &first {
                None => first = Some((name, found)),
                Some((other, value)) if *value != found => {
                    return Err(invalid(
                        name,
                        &format!("`{other}` sets the same, and to another value; leave one of them out"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
