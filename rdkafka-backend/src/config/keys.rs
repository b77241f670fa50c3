//! The keys: which ones are consumer settings, and what kind of value each takes. Only hints and messages use them; librdkafka
//! decides which of its keys and values are valid.

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number in the unit of the key.
    Number,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static str),
    /// Any text, or a list of words.
    Text,
}

use Kind::{Choice, Flag, Number, Text};

/// Whether `key` is a setting that only consumers have.
pub(super) fn is_consumer_key(key: &str) -> bool {
    CONSUMERS.contains(&without_prefix(key))
}

/// The kind of the value of `key`; `None` for a key that is not listed here.
pub(super) fn kind(key: &str) -> Option<Kind> {
    let key = without_prefix(key);
    KEYS.iter().chain(&OWN).find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// All keys that a producer uses.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().chain(&OWN).map(|(name, _)| *name)
}

/// `key` without the prefix `topic.`, which topic settings may have.
pub(super) fn without_prefix(key: &str) -> &str {
    key.strip_prefix("topic.")
        .filter(|rest| KEYS.iter().all(|(name, _)| *name != key) && !rest.is_empty())
        .unwrap_or(key)
}

const CONSUMERS: [&str; 31] = [
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// The keys that librdkafka has not.
const OWN: [(&str, Kind); 3] = [
    ("enable.strict.idempotence", Flag),
    ("partitioner.adaptive.partitioning.enable", Flag),
    ("partitioner.availability.timeout.ms", Number),
];

const KEYS: [(&str, Kind); 133] = [
    ("acks", Number),
    ("allow.auto.create.topics", Flag),
    ("api.version.fallback.ms", Number),
    ("api.version.request", Flag),
    ("api.version.request.timeout.ms", Number),
    ("batch.num.messages", Number),
    ("batch.size", Number),
    ("bootstrap.servers", Text),
    ("broker.address.family", Choice("any, v4, v6")),
    ("broker.address.ttl", Number),
    ("broker.version.fallback", Text),
    ("builtin.features", Text),
    ("client.dns.lookup", Choice("use_all_dns_ips, resolve_canonical_bootstrap_servers_only")),
    ("client.id", Text),
    ("client.rack", Text),
    ("compression.codec", Choice("none, gzip, snappy, lz4, zstd")),
    ("compression.level", Number),
    ("compression.type", Choice("none, gzip, snappy, lz4, zstd")),
    ("connections.max.idle.ms", Number),
    ("debug", Text),
    ("delivery.report.only.error", Flag),
    ("delivery.timeout.ms", Number),
    ("enable.gapless.guarantee", Flag),
    ("enable.idempotence", Flag),
    ("enable.metrics.push", Flag),
    ("enable.random.seed", Flag),
    ("enable.sasl.oauthbearer.unsecure.jwt", Flag),
    ("enable.ssl.certificate.verification", Flag),
    ("enabled_events", Number),
    ("https.ca.location", Text),
    ("https.ca.pem", Text),
    ("internal.termination.signal", Number),
    ("linger.ms", Number),
    ("log.connection.close", Flag),
    ("log.queue", Flag),
    ("log.thread.name", Flag),
    ("log_level", Number),
    ("max.in.flight", Number),
    ("max.in.flight.requests.per.connection", Number),
    ("message.copy.max.bytes", Number),
    ("message.max.bytes", Number),
    ("message.send.max.retries", Number),
    ("message.timeout.ms", Number),
    ("metadata.broker.list", Text),
    ("metadata.max.age.ms", Number),
    ("metadata.recovery.rebootstrap.trigger.ms", Number),
    ("metadata.recovery.strategy", Choice("none, rebootstrap")),
    ("partitioner", Text),
    ("plugin.library.paths", Text),
    ("produce.offset.report", Flag),
    ("queue.buffering.backpressure.threshold", Number),
    ("queue.buffering.max.kbytes", Number),
    ("queue.buffering.max.messages", Number),
    ("queue.buffering.max.ms", Number),
    ("queuing.strategy", Choice("fifo, lifo")),
    ("receive.message.max.bytes", Number),
    ("reconnect.backoff.jitter.ms", Number),
    ("reconnect.backoff.max.ms", Number),
    ("reconnect.backoff.ms", Number),
    ("request.required.acks", Number),
    ("request.timeout.ms", Number),
    ("retries", Number),
    ("retry.backoff.max.ms", Number),
    ("retry.backoff.ms", Number),
    ("sasl.kerberos.keytab", Text),
    ("sasl.kerberos.kinit.cmd", Text),
    ("sasl.kerberos.min.time.before.relogin", Number),
    ("sasl.kerberos.principal", Text),
    ("sasl.kerberos.service.name", Text),
    ("sasl.mechanism", Text),
    ("sasl.mechanisms", Text),
    ("sasl.oauthbearer.assertion.algorithm", Choice("RS256, ES256")),
    ("sasl.oauthbearer.assertion.claim.aud", Text),
    ("sasl.oauthbearer.assertion.claim.exp.seconds", Number),
    ("sasl.oauthbearer.assertion.claim.iss", Text),
    ("sasl.oauthbearer.assertion.claim.jti.include", Flag),
    ("sasl.oauthbearer.assertion.claim.nbf.seconds", Number),
    ("sasl.oauthbearer.assertion.claim.sub", Text),
    ("sasl.oauthbearer.assertion.file", Text),
    ("sasl.oauthbearer.assertion.jwt.template.file", Text),
    ("sasl.oauthbearer.assertion.private.key.file", Text),
    ("sasl.oauthbearer.assertion.private.key.passphrase", Text),
    ("sasl.oauthbearer.assertion.private.key.pem", Text),
    ("sasl.oauthbearer.client.credentials.client.id", Text),
    ("sasl.oauthbearer.client.credentials.client.secret", Text),
    ("sasl.oauthbearer.client.id", Text),
    ("sasl.oauthbearer.client.secret", Text),
    ("sasl.oauthbearer.config", Text),
    ("sasl.oauthbearer.extensions", Text),
    ("sasl.oauthbearer.grant.type", Choice("client_credentials, urn:ietf:params:oauth:grant-type:jwt-bearer")),
    ("sasl.oauthbearer.metadata.authentication.type", Choice("none, azure_imds")),
    ("sasl.oauthbearer.method", Choice("default, oidc")),
    ("sasl.oauthbearer.scope", Text),
    ("sasl.oauthbearer.token.endpoint.url", Text),
    ("sasl.password", Text),
    ("sasl.username", Text),
    ("security.protocol", Choice("plaintext, ssl, sasl_plaintext, sasl_ssl")),
    ("socket.blocking.max.ms", Number),
    ("socket.connection.setup.timeout.ms", Number),
    ("socket.keepalive.enable", Flag),
    ("socket.max.fails", Number),
    ("socket.nagle.disable", Flag),
    ("socket.receive.buffer.bytes", Number),
    ("socket.send.buffer.bytes", Number),
    ("socket.timeout.ms", Number),
    ("ssl.ca.certificate.stores", Text),
    ("ssl.ca.location", Text),
    ("ssl.ca.pem", Text),
    ("ssl.certificate.location", Text),
    ("ssl.certificate.pem", Text),
    ("ssl.cipher.suites", Text),
    ("ssl.crl.location", Text),
    ("ssl.curves.list", Text),
    ("ssl.endpoint.identification.algorithm", Choice("none, https")),
    ("ssl.engine.id", Text),
    ("ssl.engine.location", Text),
    ("ssl.key.location", Text),
    ("ssl.key.password", Text),
    ("ssl.key.pem", Text),
    ("ssl.keystore.location", Text),
    ("ssl.keystore.password", Text),
    ("ssl.providers", Text),
    ("ssl.sigalgs.list", Text),
    ("statistics.interval.ms", Number),
    ("sticky.partitioning.linger.ms", Number),
    ("topic.blacklist", Text),
    ("topic.metadata.propagation.max.ms", Number),
    ("topic.metadata.refresh.fast.cnt", Number),
    ("topic.metadata.refresh.fast.interval.ms", Number),
    ("topic.metadata.refresh.interval.ms", Number),
    ("topic.metadata.refresh.sparse", Flag),
    ("transaction.timeout.ms", Number),
    ("transactional.id", Text),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vendored;

    /// Key, scope, range and type of each row of librdkafka's documentation.
    fn documented(text: &str) -> impl Iterator<Item = (&str, &str, &str, &str)> {
        text.lines().filter_map(|line| {
            let (row, kind) = line.split_once("<br>*Type: ")?;
            let mut cells = row.split('|').map(str::trim);
            Some((cells.next()?, cells.next()?, cells.next()?, kind.trim_end_matches('*')))
        })
    }

    #[test]
    fn s33_keys_and_kinds_are_those_of_librdkafkas_documentation() {
        let Some(text) = vendored::file("CONFIGURATION.md") else { return };
        let (mut consumers, mut others) = (Vec::new(), Vec::new());
        for (key, scope, range, kind) in documented(&text) {
            let kind = match kind {
                "integer" | "float" => "a number",
                "boolean" => "a flag",
                "enum value" => range,
                "see dedicated API" => continue,
                _ => "text",
            };
            let list = if scope == "C" { &mut consumers } else { &mut others };
            list.push((key, kind));
        }
        for list in [&mut consumers, &mut others] {
            list.sort_by_key(|(key, _)| *key);
            // The topic settings come second.
            list.dedup_by_key(|(key, _)| *key);
        }
        let ours = KEYS.map(|(key, kind)| match kind {
            Number => (key, "a number"),
            Flag => (key, "a flag"),
            Choice(choices) => (key, choices),
            Text => (key, "text"),
        });
        assert_eq!(others, ours);
        assert_eq!(consumers.iter().map(|(key, _)| *key).collect::<Vec<_>>(), CONSUMERS);
    }

    #[test]
    fn topic_settings_may_have_a_prefix() {
        assert!(is_consumer_key("topic.auto.offset.reset") && is_consumer_key("group.id"));
        assert!(!is_consumer_key("topic.acks") && !is_consumer_key("acks") && !is_consumer_key("topic."));
        assert_eq!((kind("topic.acks"), kind("no.such")), (Some(Number), None));
        assert_eq!(without_prefix("topic.metadata.refresh.interval.ms"), "topic.metadata.refresh.interval.ms");
    }
}
