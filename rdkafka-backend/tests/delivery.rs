//! Records arrive unchanged, once, and in order.

mod common;

use std::collections::HashMap;

use aioproducer_core::backend::FailureKind;
use aioproducer_rdkafka::{ApiKey, ErrorCode, Librdkafka, Partition, Partitioner, ToPartition};
use common::{NOT_PERSISTED, Payload, Rec, Rig, Seen, TOPIC, broker, client, consume, failure};

#[test]
fn s03_reports_carry_partition_and_offset() {
    let broker = broker(2);
    let rig = Rig::new(&[], &broker, 1, 100);
    rig.send((0..500).map(|id| Rec::new(id).to((id % 2) as i32)));
    rig.wait(500);
    let results = rig.end();
    let seen = consume(&broker, 2, 500);
    for record in &seen {
        let at = results[&record.id()].as_ref().unwrap();
        assert_eq!((at.partition, at.offset()), (record.partition, Some(record.offset)));
        assert_eq!(at.timestamp(), Some(1234), "the embedded broker's constant log-append time");
    }
    assert_eq!(results.len(), 500);
}

#[test]
fn s08_null_and_empty_differ_on_both_paths() {
    let broker = broker(1);
    let rig = Rig::new(&[], &broker, 1, 100);
    let options = [None, Some(Vec::new()), Some(b"x".to_vec())];
    let mut records = Vec::new();
    for key in &options {
        for payload in &options {
            for with_timestamp in [false, true] {
                let mut record =
                    Rec { key: key.clone(), payload: payload.clone().map(Payload), ..Rec::new(records.len() as u64) };
                if with_timestamp {
                    record.timestamp = Some(1_000);
                }
                records.push(record);
            }
        }
    }
    // librdkafka's callback chooses the partitions of the first batch, a worker those of later ones.
    for round in 0..3 {
        rig.send(records.iter().map(|record| Rec { id: record.id + round * 100, ..record.clone() }));
        rig.wait(records.len() * (round as usize + 1));
    }
    rig.end();
    let seen = consume(&broker, 1, 3 * records.len());
    for (seen, sent) in seen.iter().zip(records.iter().cycle()) {
        let payload = sent.payload.as_ref().map(|payload| payload.0.clone());
        assert_eq!((&seen.key, &seen.payload), (&sent.key, &payload));
        if sent.timestamp.is_some() {
            assert_eq!(seen.timestamp, sent.timestamp);
        }
    }
}

#[test]
fn s08_headers_keep_order_duplicates_nulls_and_emptiness() {
    let broker = broker(1);
    let rig = Rig::new(&[], &broker, 1, 100);
    let record = Rec::new(0)
        .header("b", Some(b"1"))
        .header("a", None)
        .header("b", Some(b""))
        .header("b", Some(b"nul \0 inside"))
        .header("", Some(b"unnamed"));
    let headers = record.headers.clone();
    rig.send([record]);
    rig.wait(1);
    rig.end();
    assert_eq!(consume(&broker, 1, 1)[0].headers, headers);
}

#[test]
fn s15_an_invalid_record_fails_alone() {
    let broker = broker(3);
    let rig = Rig::new(&[("message.max.bytes", "2000")], &broker, 1, 100);
    rig.send([Rec::new(0).key("k")]);
    rig.wait(1);
    let large = |id| Rec::new(id).payload(vec![b'x'; 4000]);
    rig.send([Rec::new(1), large(2), Rec::new(3), Rec::new(4).key("k"), large(5).key("k"), Rec::new(6).key("l")]);
    rig.send([Rec::new(7).to(99), Rec::new(8).to(2), Rec::new(9).to(99).header("h", None), Rec::new(10)]);
    rig.wait(11);
    let results = rig.end();
    for id in [2, 5] {
        let failure = failure(&results, id);
        assert_eq!((failure.kind, failure.status), (FailureKind::TooLarge, NOT_PERSISTED));
    }
    for id in [7, 9] {
        let failure = failure(&results, id);
        assert_eq!((failure.kind, failure.status), (FailureKind::UnknownPartition, NOT_PERSISTED));
        assert!(!failure.reason.is_empty());
    }
    assert_eq!(results.values().filter(|result| result.is_ok()).count(), 7);
}

#[test]
fn s15_a_topic_with_an_invalid_name_fails_alone() {
    let broker = broker(1);
    let long = "x".repeat(600);
    let backend = Librdkafka::new(client(broker.bootstrap_servers(), &[]));
    let rig = Rig::with(backend, 10, &[TOPIC, &long, "nul\0"]);
    rig.send((0..6).map(|id| Rec { topic: id as u32 % 3, ..Rec::new(id) }));
    rig.wait(6);
    let results = rig.end();
    for (id, result) in &results {
        assert_eq!(result.is_ok(), id % 3 == 0, "{id}");
        if id % 3 != 0 {
            assert_eq!(failure(&results, *id).kind, FailureKind::UnknownTopic);
        }
    }
}

#[test]
fn keyed_records_go_where_javas_client_sends_them() {
    let broker = broker(7);
    let rig = Rig::new(&[], &broker, 1, 50);
    for part in 0..4 {
        rig.send((0..100).map(|id| Rec::new(part * 100 + id).key(id.to_string())));
        rig.wait(100 * (part as usize + 1));
    }
    rig.end();
    let mut places = HashMap::new();
    for record in consume(&broker, 7, 400) {
        let place = *places.entry(record.key.clone()).or_insert(record.partition);
        assert_eq!(place, record.partition, "a key has one partition, whichever thread chooses it");
    }
    // `kafka-console-producer --property parse.key=true` with 7 partitions: murmur2("21") is -973932308.
    assert_eq!(places[&Some(b"21".to_vec())], (-973_932_308_i32 & 0x7fff_ffff) % 7);
}

#[test]
fn an_invalid_answer_of_a_rule_fails_its_record_only() {
    struct Rule;
    impl Partition for Rule {
        fn partition(&self, record: ToPartition<'_>) -> i32 {
            let count = record.partitions;
            match record.key {
                b"panic" => panic!("on purpose"),
                b"low" => -1,
                b"high" => count,
                _ => count - 1,
            }
        }
    }
    let broker = broker(3);
    let backend = Librdkafka::new(client(broker.bootstrap_servers(), &[]));
    let rig = Rig::with(backend.partitioner(Partitioner::Custom(std::sync::Arc::new(Rule))), 50, &[TOPIC]);
    let keys = ["good", "panic", "low", "good", "high", "good"];
    // At first librdkafka's threads call the rule, later our worker.
    for round in 0..4 {
        rig.send(keys.iter().zip(0..).map(|(key, id)| {
            let record = Rec::new(round * 10 + id).key(*key);
            if round == 3 { record.header("h", None) } else { record }
        }));
        rig.wait(keys.len() * (round as usize + 1));
    }
    let results = rig.end();
    for (id, result) in &results {
        match result {
            Ok(at) => assert_eq!((keys[*id as usize % 10], at.partition), ("good", 2)),
            Err((failure, _)) => {
                assert_ne!(keys[*id as usize % 10], "good");
                assert_eq!(failure.kind, FailureKind::UnknownPartition);
            }
        }
    }
}

/// Sends records with keys, without keys, with partitions and with headers. The order of each key and partition must hold.
/// `trouble` adds request errors.
fn order(workers: usize, config: &[(&str, &str)], trouble: bool) -> usize {
    const COUNT: u64 = 4000;
    let broker = broker(5);
    // The embedded broker does not check sequence numbers. A second request in flight would overtake a failed one, and a lost
    // connection would duplicate a batch.
    let one_in_flight = [("enable.idempotence", "true"), ("max.in.flight", "1")];
    let config = if trouble { [config, &one_in_flight].concat() } else { config.to_vec() };
    let rig = Rig::new(&config, &broker, workers, 70);
    if trouble {
        broker.request_errors(ApiKey::Produce, &[ErrorCode::NotLeaderForPartition; 4]).unwrap();
    }
    for part in 0..4 {
        rig.send((part * COUNT / 4..(part + 1) * COUNT / 4).map(|id| {
            let record = match id % 4 {
                0 => Rec::new(id).to((id / 4 % 5) as i32),
                1 => Rec::new(id),
                _ => Rec::new(id).key((id % 23).to_string()),
            };
            if id % 11 == 0 { record.header("h", Some(b"v")) } else { record }
        }));
    }
    rig.wait(COUNT as usize);
    let refusals = rig.refusals();
    let results = rig.end();
    assert!(results.values().all(Result::is_ok));
    let seen = consume(&broker, 5, COUNT as usize);
    let mut last: HashMap<(i32, Option<Vec<u8>>, u64), u64> = HashMap::new();
    let mut ids: Vec<_> = seen.iter().map(Seen::id).collect();
    for record in &seen {
        let kind = if record.key.is_some() { 2 } else { record.id() % 4 };
        let lane = (record.partition, record.key.clone(), kind);
        if let Some(before) = last.insert(lane, record.id()) {
            assert!(before < record.id(), "{before} before {} in {}", record.id(), record.partition);
        }
    }
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..COUNT), "each once");
    refusals
}

#[test]
fn s18_order_holds_for_any_number_of_workers_and_through_trouble() {
    for workers in [1, 2, 4] {
        assert_eq!(order(workers, &[], true), 0);
    }
}

#[test]
fn s16_order_holds_while_the_queue_is_kept_full() {
    for workers in [1, 2, 4] {
        assert!(order(workers, &[("queue.buffering.max.messages", "100")], workers == 2) > 0, "never full");
    }
}
