//! Expiry, purge, flush and shutdown: every record has one outcome, and `ended` is the last call.

mod common;

use std::time::{Duration, Instant};

use aioproducer_core::backend::{Connect, FailureKind, Status};
use aioproducer_rdkafka::{ApiKey, ConfigError, ErrorCode, Librdkafka};
use common::{NOT_PERSISTED, Payload, Rec, Rig, TOPIC, broker, client, consume, eventually, failure, pass};

/// Large enough that librdkafka's broker threads do not copy it.
fn large(id: u64) -> Rec {
    Rec::new(id).payload(vec![id as u8; 100_000])
}

/// If librdkafka failed some of them, it might write others twice. The driver keeps the delivery timeout.
#[test]
fn s17_librdkafka_keeps_records_over_their_delivery_timeout() {
    let broker = broker(2);
    let rig = Rig::new(&[("message.timeout.ms", "300")], &broker, 2, 10);
    rig.send([Rec::new(0).to(1)]);
    rig.wait(1);
    broker.broker_down(-1).unwrap();
    rig.send((1..50).map(|id| if id % 2 == 0 { Rec::new(id).key("k") } else { large(id).to(1) }));
    rig.wait_handed_off(49);
    // librdkafka looks for timeouts once a second.
    pass(Duration::from_secs(3));
    broker.broker_up(-1).unwrap();
    rig.wait(50);
    assert!(rig.end().values().all(Result::is_ok));
}

#[test]
fn s24_a_purge_fails_queued_records_and_records_in_flight() {
    let broker = broker(1);
    let rig = Rig::new(&[("max.in.flight", "1"), ("batch.num.messages", "10")], &broker, 1, 1000);
    rig.send([Rec::new(0)]);
    rig.wait(1);
    broker.round_trip_time(-1, Duration::from_secs(30)).unwrap();
    rig.send((1..100).map(large));
    rig.wait_handed_off(99);
    rig.backend.purge(true, true);
    rig.wait(100);
    let results = rig.end();
    let failures: Vec<_> = (1..100).map(|id| failure(&results, id)).collect();
    assert!(failures.iter().all(|failure| failure.kind == FailureKind::Purged));
    assert!(failures.iter().any(|failure| failure.status == NOT_PERSISTED));
}

/// Records that librdkafka copies are released at once, and are restored if they fail.
#[test]
fn s03_copied_records_come_back_unchanged() {
    let parts = [None, Some(Vec::new()), Some(b"x".to_vec())];
    let both = parts.iter().flat_map(|key| parts.iter().map(move |payload| (key.clone(), payload.clone())));
    let plain =
        both.zip(0..).map(|((key, payload), id)| Rec { key, payload: payload.map(Payload), ..Rec::new(id).to(0) });
    let named = (100..200).map(|id| Rec::new(id).to(id as i32 % 2));
    let records: Vec<_> = plain.chain(named).collect();
    let broker = broker(2);
    broker.broker_down(-1).unwrap();
    let rig = Rig::new(&[], &broker, 1, 200);
    rig.send(records.iter().cloned());
    rig.wait_handed_off(records.len());
    rig.backend.purge(true, true);
    rig.wait(records.len());
    let copies = rig.copies();
    let results = rig.end();
    for record in &records {
        let Err((failure, back)) = &results[&record.id] else { panic!("{} was delivered", record.id) };
        assert_eq!(back, record);
        assert_eq!(failure.kind, FailureKind::Purged, "{}", record.id);
    }
    assert_eq!(copies, records.len(), "all records were copied");
}

#[test]
fn s25_a_shutdown_gives_back_records_in_flight_soon() {
    let short = |id: u64| Rec::new(id).to(0);
    for (down, record) in [(false, large as fn(u64) -> Rec), (true, large), (false, short), (true, short)] {
        let broker = broker(1);
        let rig = Rig::new(&[], &broker, 2, 100);
        rig.send([Rec::new(0)]);
        rig.wait(1);
        broker.round_trip_time(-1, Duration::from_secs(30)).unwrap();
        if down {
            broker.broker_down(-1).unwrap();
        }
        rig.send((1..200).map(record));
        rig.wait_handed_off(199);
        let start = Instant::now();
        let results = rig.end();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert_eq!(results.len(), 200);
        for id in 1..200 {
            let Err((failure, back)) = &results[&id] else { panic!("{id} was delivered") };
            assert_eq!((failure.kind, back), (FailureKind::Purged, &record(id)));
            assert_ne!(failure.status, Status::Persisted);
        }
    }
}

#[test]
fn s25_a_shutdown_during_work_loses_no_record() {
    for round in 0..5 {
        let broker = broker(3);
        let rig = Rig::new(&[("queue.buffering.max.messages", "500")], &broker, 3, 50);
        let count = 3000;
        rig.send((0..count).map(|id| if id % 3 == 0 { Rec::new(id).to(1) } else { Rec::new(id).key(id.to_string()) }));
        rig.wait(100 * round);
        rig.end();
    }
}

#[test]
fn s25_all_threads_end() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
    };
    let broker = broker(1);
    // Other tests of this file have threads of the same names; librdkafka's are named rdk:...
    let ours = |marker: &str| threads().filter(|name| name.starts_with(marker)).count();
    let rig = Rig::new(&[("client.id", "t")], &broker, 13, 10);
    rig.send([Rec::new(0)]);
    rig.wait(1);
    assert!(ours("aioproducer-wor") >= 13);
    rig.end();
    eventually("worker threads end", || ours("aioproducer-wor") < 13);
}

#[test]
fn s26_dropping_the_handle_ends_all_threads() {
    let broker = broker(1);
    broker.broker_down(-1).unwrap();
    let rig = Rig::new(&[], &broker, 2, 10);
    rig.send((0..20).map(large));
    rig.wait_handed_off(20);
    let Rig { driver, backend } = rig;
    let start = Instant::now();
    drop(backend);
    assert!(start.elapsed() < Duration::from_secs(20), "a drop does not block");
    eventually("the threads drop the driver", || std::sync::Arc::strong_count(&driver) == 1);
}

#[test]
fn s23_a_flush_ends_librdkafkas_linger() {
    let broker = broker(2);
    let rig = Rig::new(&[("linger.ms", "30000")], &broker, 1, 10);
    rig.send((0..100).map(|id| Rec::new(id).key(id.to_string())));
    rig.wait_handed_off(100);
    let start = Instant::now();
    rig.flush();
    rig.wait(100);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(rig.end().values().all(Result::is_ok));
}

#[test]
fn borrowed_payloads_arrive_unchanged() {
    let broker = broker(1);
    let rig = Rig::new(&[("batch.num.messages", "5")], &broker, 1, 20);
    let error = [ErrorCode::LocalTransport; 2];
    broker.request_errors(ApiKey::Produce, &error).unwrap();
    rig.send((0..30).map(large));
    rig.wait(30);
    assert!(rig.end().values().all(Result::is_ok));
    for (id, record) in consume(&broker, 1, 30).into_iter().enumerate() {
        assert_eq!(record.payload, Some(vec![id as u8; 100_000]), "{id}");
    }
}

#[test]
fn s19_a_fatal_error_is_reported() {
    let broker = broker(1);
    let rig = Rig::new(&[], &broker, 1, 10);
    rig.send([Rec::new(0)]);
    rig.wait(1);
    // A wrong sequence number is fatal for an idempotent producer.
    broker.request_errors(ApiKey::Produce, &[ErrorCode::OutOfOrderSequenceNumber]).unwrap();
    rig.send([Rec::new(1)]);
    let fatal = rig.fatal();
    assert_eq!(fatal.kind, FailureKind::Fatal);
    assert!(fatal.code().is_some());
    rig.send([Rec::new(2)]);
    rig.wait(3);
    let results = rig.end();
    assert_eq!(failure(&results, 2).kind, FailureKind::Fatal);
}

#[test]
fn s33_errors_name_the_key_and_hide_secrets() {
    let error = |pairs: &[(&str, &str)]| {
        let mut backend = Librdkafka::new(client("localhost:1", pairs));
        let shown = format!("{backend:?}");
        let limits = Connect::<Rec>::limits(&mut backend, None);
        let error = limits.err().or_else(|| Rig::try_with(backend, 1, &[TOPIC]).err()).expect("it is refused");
        (error.clone(), format!("{shown} {error} {error:?}"))
    };
    let (unknown, _) = error(&[("no.such", "1")]);
    assert!(matches!(&unknown, ConfigError::UnknownKey { key, .. } if key == "no.such"), "{unknown}");
    let (_, text) = error(&[("acks", "hunter2"), ("sasl.password", "hunter2"), ("ssl.key.password", "hunter3")]);
    assert!(text.contains("acks") && !text.contains("hunter"), "{text}");
    // Only `rd_kafka_new` finds this.
    let transactional = [("transactional.id", "t"), ("transaction.timeout.ms", "1000")];
    let (refused, text) = error(&[&transactional[..], &[("message.timeout.ms", "2000")]].concat());
    assert!(matches!(refused, ConfigError::Client { .. }) && text.contains("message.timeout.ms"), "{text}");
    let none = Rig::try_with(Librdkafka::new(client("localhost:1", &[])).workers(0), 1, &[TOPIC]).err();
    assert_eq!(none, Some(ConfigError::NoWorkers));
}
