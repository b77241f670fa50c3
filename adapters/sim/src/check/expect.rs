//! What an application expects of the logs.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::log::LogRecord;
use crate::sync::Arc;

/// A record of the logs, with its topic.
pub(super) type Logged = (Arc<str>, LogRecord);

fn at((topic, record): &Logged) -> String {
    format!("{topic}/{}@{}", record.partition(), record.offset())
}

/// The first key that two records have.
pub(super) fn doubled<K: Ord + Debug>(logs: &[Logged], key: impl Fn(&LogRecord) -> Option<K>) -> Option<String> {
    let mut seen: BTreeMap<K, &Logged> = BTreeMap::new();
    for logged in logs {
        let Some(key) = key(&logged.1) else { continue };
        if let Some(first) = seen.get(&key) {
            return Some(format!("DUPLICATE: {key:?} is in the log at {} and at {}", at(first), at(logged)));
        }
        seen.insert(key, logged);
    }
    None
}

/// The first record that is behind one of its key and its partition with a greater number.
pub(super) fn reordered<K: Ord + Debug, N: Ord + Debug>(
    logs: &[Logged],
    place: impl Fn(&LogRecord) -> Option<(K, N)>,
) -> Option<String> {
    let mut latest: BTreeMap<(K, &str, i32), (N, &Logged)> = BTreeMap::new();
    for logged in logs {
        let Some((key, number)) = place(&logged.1) else { continue };
        let lane = (key, &*logged.0, logged.1.partition());
        if let Some((before, first)) = latest.get(&lane)
            && *before > number
        {
            let (key, ..) = lane;
            let (here, there) = (at(logged), at(first));
            return Some(format!("REORDERED: {number:?} of {key:?} at {here} is behind {before:?} at {there}"));
        }
        latest.insert(lane, (number, logged));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(records: &[(i32, &str, &str)]) -> Vec<Logged> {
        let record = |(offset, (partition, key, payload)): (i64, &(i32, &str, &str))| {
            (Arc::from("t"), LogRecord::of(*partition, offset, Some(key.as_bytes()), Some(payload.as_bytes())))
        };
        (0..).zip(records).map(record).collect()
    }

    fn place(record: &LogRecord) -> Option<(String, u32)> {
        Some((record.key_str()?.to_owned(), record.payload_str()?.parse().ok()?))
    }

    #[test]
    fn order_is_by_key_and_partition_and_a_record_may_be_there_twice() {
        let fine = [(0, "a", "1"), (0, "b", "1"), (0, "a", "2"), (0, "a", "2"), (1, "a", "1"), (0, "a", "none")];
        assert_eq!(reordered(&logs(&fine), place), None);
        let wrong = [(0, "a", "2"), (0, "b", "1"), (0, "a", "1")];
        assert_eq!(reordered(&logs(&wrong), place).unwrap(), "REORDERED: 1 of \"a\" at t/0@2 is behind 2 at t/0@0");
    }

    #[test]
    fn a_key_is_there_once_in_all_partitions() {
        let key = |record: &LogRecord| record.payload_str().map(str::to_owned);
        assert_eq!(doubled(&logs(&[(0, "a", "1"), (1, "a", "2")]), key), None);
        let twice = logs(&[(0, "a", "1"), (1, "a", "1")]);
        assert_eq!(doubled(&twice, key).unwrap(), "DUPLICATE: \"1\" is in the log at t/0@0 and at t/1@1");
    }
}
