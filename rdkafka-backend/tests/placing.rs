//! Records with a key are placed before they are accepted, once that is called for, and go where they are placed.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{FailureKind, Placement};
use aioproducer_rdkafka::{Librdkafka, Partitioner};
use common::{NOT_PERSISTED, Rec, Rig, Seen, TOPIC, broker, client, consume, failure};

const PARTITIONS: i32 = 5;

/// Without counts of what each partition answers, keyed records are placed as soon as the number of partitions is known.
const AT_ONCE: (&str, &str) = ("partitioner.adaptive.partitioning.enable", "false");

/// Several keys, one of them empty.
fn keys() -> impl Iterator<Item = String> {
    (0..20).map(|n| "k".repeat(n))
}

#[test]
fn s09_records_are_placed_where_the_hand_off_would_send_them() {
    let broker = broker(PARTITIONS);
    for name in ["murmur2_random", "murmur2", "consistent_random", "consistent", "fnv1a_random", "fnv1a", "random"] {
        let backend = Librdkafka::new(client(broker.bootstrap_servers(), &[("partitioner", name), AT_ONCE]));
        let rig = Rig::with(backend, 100, &[TOPIC, "unused"]);
        let place = |key: &str| rig.backend.place(TopicId(0), Some(key.as_bytes()), None);
        assert_eq!(place("k"), Placement::Unknown, "{name}: there is no handle");
        rig.send(keys().zip(0..).map(|(key, id)| Rec::new(id).key(key)));
        rig.wait(keys().count());
        let placed: Vec<_> = keys().map(|key| place(&key)).collect();
        assert_eq!(rig.backend.place(TopicId(1), Some(b"k"), None), Placement::Unknown, "{name}: it was not used");
        assert_eq!(rig.backend.place(TopicId(u32::MAX), Some(b"k"), None), Placement::Unknown, "{name}: there is none");
        let results = rig.end();
        for (id, (key, placed)) in (0..).zip(keys().zip(placed)) {
            let found = results[&id].as_ref().expect("delivered").partition;
            let anywhere = name == "random" || name == "consistent_random" && key.is_empty();
            let expected = if anywhere { Placement::Any } else { Placement::Partition(found) };
            assert_eq!(placed, expected, "{name}, {key:?}");
        }
    }
}

#[test]
fn s09_an_invalid_choice_is_left_to_the_hand_off_which_rejects_the_record() {
    let broker = broker(PARTITIONS);
    let rule = Partitioner::custom(|record| match record.value {
        Some(b"panic") => panic!("on purpose"),
        Some(b"nowhere") => record.partitions,
        _ => 3,
    });
    let backend = Librdkafka::new(client(broker.bootstrap_servers(), &[AT_ONCE])).partitioner(rule);
    let rig = Rig::with(backend, 100, &[TOPIC]);
    rig.send([Rec::new(0).key("k")]);
    rig.wait(1);
    let place = |value: Option<&[u8]>| rig.backend.place(TopicId(0), Some(b"k"), value);
    assert_eq!([place(Some(b"v")), place(None)], [Placement::Partition(3); 2]);
    assert_eq!([place(Some(b"panic")), place(Some(b"nowhere"))], [Placement::Unknown; 2]);
    let invalid = |id, value: &str| Rec { partition: None, ..Rec::new(id).key("k").payload(value) };
    rig.send([invalid(1, "panic"), invalid(2, "nowhere")]);
    rig.wait(3);
    let results = rig.end();
    for id in [1, 2] {
        assert_eq!(failure(&results, id).kind, FailureKind::UnknownPartition);
    }
}

/// The first batch of placed records asks librdkafka for the number of partitions, and its records go where they were placed, even
/// if their key has another partition by now.
#[test]
fn s18_a_batch_that_asks_for_the_number_of_partitions_goes_where_it_was_placed() {
    let broker = broker(PARTITIONS);
    for with_headers in [false, true] {
        let rig = Rig::new(&[], &broker, 1, 50);
        rig.send([Rec::new(0).key("k")]);
        rig.wait(1);
        for round in 0..4 {
            rig.send((1..200).map(|id| {
                let record = Rec::new(round * 1000 + id).key((id % 7).to_string()).placed((id % 5) as i32);
                if with_headers && id % 3 == 0 { record.header("h", None) } else { record }
            }));
            rig.wait(1 + 199 * (round as usize + 1));
        }
        for (id, result) in rig.end() {
            let at = result.unwrap_or_else(|(failure, _)| panic!("{id}: {failure:?}"));
            assert!(id == 0 || at.partition == (id % 1000 % 5) as i32, "{id} is in {}", at.partition);
        }
    }
}

/// A batch asks for the number of partitions if all its records were placed: one that names the partition must not go elsewhere.
#[test]
fn s18_a_batch_of_placed_records_asks_for_the_number_of_partitions() {
    let broker = broker(PARTITIONS);
    let rig = Rig::new(&[AT_ONCE], &broker, 1, 50);
    let place = || rig.backend.place(TopicId(0), Some(b"k"), None);
    rig.send([Rec::new(0).to(0)]);
    rig.wait(1);
    assert_eq!(place(), Placement::Unknown, "records that name their partition do not ask");
    rig.hold_worker();
    rig.send([Rec::new(1).placed(2), Rec::new(2).to(2), Rec::new(3).placed(2)]);
    rig.let_worker_go();
    rig.wait(4);
    assert_eq!(place(), Placement::Unknown, "one of the batch names its partition");
    rig.send([Rec::new(4).placed(3)]);
    rig.wait(5);
    assert!(matches!(place(), Placement::Partition(_)));
    let results = rig.end();
    let places = [0, 1, 2, 3, 4].map(|id| results[&id].as_ref().expect("delivered").partition);
    assert_eq!(places, [0, 2, 2, 2, 3]);
}

/// Partition 99 does not exist, as if the topic had been made anew with fewer partitions.
#[test]
fn s18_placed_records_of_a_partition_that_is_gone_go_elsewhere_in_order_and_those_that_name_it_fail() {
    const GONE: i32 = 99;
    let key = |id: u64| (id % 3).to_string();
    for (large, with_headers) in [(false, false), (true, false), (false, true)] {
        let broker = broker(PARTITIONS);
        let rig = Rig::new(&[], &broker, 1, 50);
        rig.send([Rec::new(0).key("k")]);
        rig.wait(1);
        let record = |id: u64| {
            let padding = if large { 500 } else { 0 };
            let record = Rec::new(id).payload(format!("{id:0>padding$}")).key(key(id));
            let record = if id.is_multiple_of(10) { record.to(GONE) } else { record.placed(GONE) };
            if with_headers && id % 4 == 1 { record.header("h", None) } else { record }
        };
        rig.send((1..=200).map(record));
        rig.wait(201);
        let results = rig.end();
        let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for id in 1..=200 {
            if id % 10 == 0 {
                let failure = failure(&results, id);
                assert_eq!((failure.kind, failure.status), (FailureKind::UnknownPartition, NOT_PERSISTED));
            } else {
                places.entry(key(id)).or_default().insert(results[&id].as_ref().expect("delivered").partition);
            }
        }
        assert!(places.values().all(|places| places.len() == 1), "{places:?}");
        let mut found: BTreeMap<Option<Vec<u8>>, Vec<u64>> = BTreeMap::new();
        for record in consume(&broker, PARTITIONS, 181) {
            found.entry(record.key.clone()).or_default().push(Seen::id(&record));
        }
        for n in 0..3 {
            let ids: Vec<u64> = (1..=200).filter(|id| id % 3 == n && id % 10 != 0).collect();
            assert_eq!(found[&Some(n.to_string().into_bytes())], ids, "the order of key {n}");
        }
    }
}
