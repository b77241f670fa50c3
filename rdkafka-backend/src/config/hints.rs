//! What somebody may have meant by a key that librdkafka does not know.

use super::keys;

/// Settings that are elsewhere here: those of Kafka's Java client, and of this producer's builders.
const ELSEWHERE: [(&str, &str); 34] = [
    ("batch.bytes", "it is the builder's `batch_bytes`"),
    ("batch.records", "it is the builder's `batch_records`"),
    ("buffer.memory", "it is the builder's `pool_bytes`"),
    ("call.timeout", "it is the builder's `call_timeout`"),
    ("callback.stall", "it is the builder's `callback_stall`"),
    ("callback.tasks", "it is the builder's `callback_tasks`"),
    ("compression.gzip.level", "it is `compression.level`"),
    ("compression.lz4.level", "it is `compression.level`"),
    ("compression.zstd.level", "it is `compression.level`"),
    ("delivery.timeout", "it is the builder's `delivery_timeout`, or `delivery.timeout.ms`"),
    ("interceptor.classes", "there is nothing like it"),
    ("key.serializer", "records take bytes: leave it out, and give `Record::key` what is serialized"),
    ("lanes", "it is the builder's `lanes`"),
    ("linger", "it is the builder's `linger`, or `linger.ms`"),
    ("max.block.ms", "it is the builder's `overflow`, with `Overflow::WaitFor`"),
    ("max.request.size", "it is `message.max.bytes`"),
    ("metric.reporters", "metrics are those of the feature `metrics`, and `Librdkafka::events` has statistics"),
    ("on.delivery", "give `produce_with` a callback"),
    ("overflow", "it is the builder's `overflow`"),
    ("partitioner.class", "it is `partitioner`, or `Librdkafka::partitioner`"),
    ("pool.bytes", "it is the builder's `pool_bytes`"),
    ("receive.buffer.bytes", "it is `socket.receive.buffer.bytes`"),
    ("sasl.client.callback.handler.class", "tokens come from `Librdkafka::oauth`"),
    ("sasl.login.callback.handler.class", "tokens come from `Librdkafka::oauth`"),
    ("send.buffer.bytes", "it is `socket.send.buffer.bytes`"),
    ("slots", "it is the builder's `slots`"),
    ("ssl.key.store.location", "it is `ssl.keystore.location`"),
    ("ssl.keystore.type", "leave it out: `ssl.keystore.location` is a PKCS#12 file"),
    ("ssl.protocol", "leave it out: TLS agrees on a version by itself"),
    ("ssl.truststore.password", "certificates that are trusted have none: set `ssl.ca.location` to a PEM file"),
    ("ssl.truststore.type", "certificates that are trusted are a PEM file: set `ssl.ca.location`"),
    ("topics", "it is the builder's `topics`"),
    ("value.serializer", "records take bytes: leave it out, and give `Record::payload` what is serialized"),
    ("workers", "it is `Librdkafka::workers`"),
];

/// How many letters a key may be away from the one that was meant.
const DISTANCE: usize = 2;

/// What to do about `key`.
pub(super) fn hint(key: &str) -> String {
    let plain = key.trim().to_ascii_lowercase().replace(['_', '-'], ".");
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(name, _)| *name == plain) {
        return (*hint).into();
    }
    let far = |name: &&str| distance(&plain, name);
    match keys::names().min_by_key(far).filter(|name| far(name) <= DISTANCE) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "its CONFIGURATION.md lists those that there are".into(),
    }
}

/// How many letters have to be put in, left out, or changed; two neighbours that are swapped count once.
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
    fn s33_a_key_that_is_nearly_one_gets_that_one() {
        for (key, meant) in [
            ("compresion.type", "`compression.type`"),
            ("bootstrap.server", "`bootstrap.servers`"),
            ("bootstrap_servers", "`bootstrap.servers`"),
            ("BOOTSTRAP_SERVERS", "`bootstrap.servers`"),
            ("Linger.Ms", "`linger.ms`"),
            ("lingre.ms", "`linger.ms`"),
            ("ack", "`acks`"),
            ("sasl.pasword", "`sasl.password`"),
        ] {
            assert_eq!(hint(key), format!("did you mean {meant}?"), "{key}");
        }
        for key in ["no.such.key", "lingering.ms", "", "x"] {
            assert!(!hint(key).contains("did you mean"), "{key}: {}", hint(key));
        }
    }

    #[test]
    fn s33_a_setting_that_is_elsewhere_is_shown_there() {
        for (key, place) in [("buffer.memory", "`pool_bytes`"), ("pool_bytes", "`pool_bytes`"), ("workers", "workers")]
        {
            assert!(hint(key).contains(place), "{key}: {}", hint(key));
        }
        let mut sorted = ELSEWHERE;
        sorted.sort_unstable();
        assert_eq!(sorted, ELSEWHERE);
        let known: Vec<_> = ELSEWHERE.iter().filter(|(key, _)| keys::names().any(|name| name == *key)).collect();
        assert!(known.is_empty(), "librdkafka takes them: {known:?}");
    }

    #[test]
    fn distances_are_those_of_single_letters() {
        for (one, other, away) in [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbz", 2)] {
            assert_eq!((distance(one, other), distance(other, one)), (away, away), "{one} {other}");
        }
        assert_eq!(distance("abc", "abcdef"), usize::MAX);
    }
}
