//! The aliases of librdkafka's keys.

use rdkafka::config::ClientConfig;

use crate::config::error::ConfigError;
use crate::config::native::native;
use crate::config::read::{invalid, value};

/// Each row has the names of one setting. Topic settings may have the prefix `topic.`.
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

/// The name under which `user` sets `key`, if it does. `key` is the first name of its row.
pub(super) fn used<'a>(user: &ClientConfig, key: &'a str) -> Option<&'a str> {
    all(key).find(|name| user.get(name).is_some())
}

/// All names of `key`, which is the first name of its row.
pub(super) fn all(key: &str) -> impl Iterator<Item = &str> {
    let others = ALIASES.iter().find(|names| names[0] == key).map_or(&[][..], |names| &names[1..]);
    std::iter::once(key).chain(others.iter().copied())
}

/// Refuses two names of one setting with different values. librdkafka would keep the one that is set last, and a map of
/// settings has no order.
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
                        &format!("`{other}` sets the same property to another value; leave one of them out"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
