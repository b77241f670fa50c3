//! Hints for keys that librdkafka does not know.

use crate::config::keys;

/// Settings that are made elsewhere: those of Kafka's Java client and of this producer's builder.
const ELSEWHERE: [(&str, &str); 34] = [
    ("batch.bytes", "use the builder's `batch_bytes`"),
    ("batch.records", "use the builder's `batch_records`"),
    ("buffer.memory", "use the builder's `pool_bytes`"),
    ("call.timeout", "use the builder's `call_timeout`"),
    ("callback.stall", "use the builder's `callback_stall`"),
    ("callback.tasks", "use the builder's `callback_tasks`"),
    ("compression.gzip.level", "use `compression.level`"),
    ("compression.lz4.level", "use `compression.level`"),
    ("compression.zstd.level", "use `compression.level`"),
    ("delivery.timeout", "use the builder's `delivery_timeout` or `delivery.timeout.ms`"),
    ("interceptor.classes", "there are no interceptors: leave it out"),
    ("key.serializer", "records take bytes: leave it out, and pass serialized keys to `Record::key`"),
    ("lanes", "use the builder's `lanes`"),
    ("linger", "use the builder's `linger` or `linger.ms`"),
    ("max.block.ms", "use the builder's `overflow` with `Overflow::WaitFor`"),
    ("max.request.size", "use `message.max.bytes`"),
    ("metric.reporters", "use the feature `metrics`, or the statistics in `Librdkafka::events`"),
    ("on.delivery", "use `produce_with`, which takes a callback"),
    ("overflow", "use the builder's `overflow`"),
    ("partitioner.class", "use `partitioner` or `Librdkafka::partitioner`"),
    ("pool.bytes", "use the builder's `pool_bytes`"),
    ("receive.buffer.bytes", "use `socket.receive.buffer.bytes`"),
    ("sasl.client.callback.handler.class", "use `Librdkafka::oauth`"),
    ("sasl.login.callback.handler.class", "use `Librdkafka::oauth`"),
    ("send.buffer.bytes", "use `socket.send.buffer.bytes`"),
    ("slots", "use the builder's `slots`"),
    ("ssl.key.store.location", "use `ssl.keystore.location`"),
    ("ssl.keystore.type", "leave it out: `ssl.keystore.location` names a PKCS#12 file"),
    ("ssl.protocol", "leave it out: client and broker negotiate the version"),
    ("ssl.truststore.password", "trusted certificates have no password: set `ssl.ca.location` to a PEM file"),
    ("ssl.truststore.type", "trusted certificates are in a PEM file: set `ssl.ca.location`"),
    ("topics", "use the builder's `topics`"),
    ("value.serializer", "records take bytes: leave it out, and pass serialized values to `Record::payload`"),
    ("workers", "use `Librdkafka::workers`"),
];

/// The largest edit distance of a suggestion.
const DISTANCE: usize = 2;

/// What to use instead of `key`.
pub(super) fn hint(key: &str) -> String {
    let plain = key.trim().to_ascii_lowercase().replace(['_', '-'], ".");
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(name, _)| *name == plain) {
        return (*hint).into();
    }
    let far = |name: &&str| distance(&plain, name);
    match keys::names().min_by_key(far).filter(|name| far(name) <= DISTANCE) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "librdkafka's CONFIGURATION.md lists all keys".into(),
    }
}

/// The number of letters to insert, delete or change; a swap of two neighbours counts once.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > DISTANCE {
        return usize::MAX;
    }
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, &letter) in (1..).zip(one) {
        let mut next = vec![row; other.len() + 1];
        for (column, &wanted) in (1..).zip(other) {
            let changed = last[column - 1] + usize::from(letter != wanted);
            next[column] = changed.min(last[column] + 1).min(next[column - 1] + 1);
            let is_swapped = row > 1 && column > 1 && letter == other[column - 2] && one[row - 2] == wanted;
            if is_swapped {
                next[column] = next[column].min(before[column - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, next);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s33_a_misspelled_key_gets_a_suggestion() {
        for (key, meant) in [
            ("compresion.type", "`compression.type`"),
            ("bootstrap.server", "`bootstrap.servers`"),
            ("bootstrap_servers", "`bootstrap.servers`"),
            ("BOOTSTRAP_SERVERS", "`bootstrap.servers`"),
            ("Linger.Ms", "`linger.ms`"),
            ("lingre.ms", "`linger.ms`"),
            ("ack", "`acks`"),
            ("sasl.pasword", "`sasl.password`"),
            ("partitioner.availabilty.timeout.ms", "`partitioner.availability.timeout.ms`"),
        ] {
            assert_eq!(hint(key), format!("did you mean {meant}?"), "{key}");
        }
        for key in ["no.such.key", "lingering.ms", "", "x"] {
            assert!(!hint(key).contains("did you mean"), "{key}: {}", hint(key));
        }
    }

    #[test]
    fn s33_a_setting_that_is_made_elsewhere_has_a_hint() {
        for (key, place) in [("buffer.memory", "`pool_bytes`"), ("pool_bytes", "`pool_bytes`"), ("workers", "workers")]
        {
            assert!(hint(key).contains(place), "{key}: {}", hint(key));
        }
        let mut sorted = ELSEWHERE;
        sorted.sort_unstable();
        assert_eq!(sorted, ELSEWHERE);
        let known: Vec<_> = ELSEWHERE.iter().filter(|(key, _)| keys::names().any(|name| name == *key)).collect();
        assert!(known.is_empty(), "librdkafka has these keys: {known:?}");
    }

    #[test]
    fn distances_are_those_of_single_letters() {
        for (one, other, away) in [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbz", 2)] {
            assert_eq!((distance(one, other), distance(other, one)), (away, away), "{one} {other}");
        }
        assert_eq!(distance("abc", "abcdef"), usize::MAX);
    }
}
