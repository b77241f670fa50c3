//! The rules of the model: what brokers and clients do when nothing is scripted but their own state.

use std::time::Duration;

use aioproducer_driver::error::{ErrorCode, FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{LogRecord, Produce, Sim, SimBackend, SimCluster};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

fn start(sim: &Sim, backend: SimBackend) -> AioProducer {
    AioProducer::builder(backend).start(sim.clone()).unwrap()
}

fn texts(kafka: &SimCluster, topic: &str) -> Vec<String> {
    let text = |record: &LogRecord| record.payload_str().unwrap_or_default().to_owned();
    kafka.topic(topic).records().iter().map(text).collect()
}

#[test]
fn s50_all_parts_of_a_record_are_in_the_log() {
    Sim::run(1, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 2);
        let producer = start(&sim, kafka.backend());
        let record = Record::to("t").partition(1).key("k").payload("p").header("a", "1").header("a", "2");
        producer.send(record).await.unwrap();
        producer.send(Record::to("t").partition(1).key("")).await.unwrap();
        let records = kafka.topic("t").records();
        assert_eq!((records[0].partition(), records[0].offset(), records[1].offset()), (1, 0, 1));
        assert_eq!((records[0].key_str(), records[0].payload_str()), (Some("k"), Some("p")));
        let headers: Vec<_> = records[0].headers().iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        assert_eq!(headers, [("a", Some(&b"1"[..])), ("a", Some(&b"2"[..]))]);
        assert_eq!((records[1].key(), records[1].payload()), (Some(&b""[..]), None), "null and empty differ");
        assert_eq!(records[1].timestamp() - records[0].timestamp(), 2, "the second is sent 2 ms later");
    });
}

#[test]
fn s50_the_order_of_a_partition_is_the_order_of_calls_and_a_key_stays_in_its_partition() {
    Sim::run(2, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 5);
        let producer = start(&sim, kafka.backend());
        let mut deliveries = Vec::new();
        for n in 0..200 {
            let record = Record::to("t").key(format!("key-{}", n % 7)).payload(n.to_string());
            deliveries.push(producer.produce(record).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        let records = kafka.topic("t").records();
        assert_eq!(records.len(), 200);
        for key in (0..7).map(|key| format!("key-{key}")) {
            let of_key: Vec<_> = records.iter().filter(|record| record.key_str() == Some(&*key)).collect();
            assert!(of_key.windows(2).all(|two| two[0].partition() == two[1].partition()), "{key}");
            let numbers: Vec<u32> =
                of_key.iter().map(|record| record.payload_str().unwrap().parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        }
    });
}

#[test]
fn s50_keyless_records_spread_over_all_partitions() {
    Sim::run(3, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 3);
        let producer = start(&sim, kafka.backend());
        for n in 0..9 {
            producer.send(Record::to("t").payload(n.to_string())).await.unwrap();
        }
        for partition in 0..3 {
            let records = kafka.topic("t").records();
            assert_eq!(records.iter().filter(|record| record.partition() == partition).count(), 3);
        }
    });
}

#[test]
fn s50_unknown_topics_and_partitions_fail_alone() {
    Sim::run(4, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        for (record, kind) in [
            (Record::to("typo").key("k"), FailureKind::UnknownTopic),
            (Record::to("t").partition(1), FailureKind::UnknownPartition),
        ] {
            let error = producer.produce(record).await.unwrap().await.unwrap_err();
            assert_eq!((error.kind(), error.status()), (kind, Status::NotPersisted));
        }
        producer.send(Record::to("t").payload("fine")).await.unwrap();
        assert_eq!(texts(&kafka, "t"), ["fine"]);
    });
}

#[test]
fn s50_a_lost_answer_is_one_record_with_idempotence_and_two_without() {
    for (idempotent, expected) in [(true, &["apples"][..]), (false, &["apples", "apples"])] {
        Sim::run(5, |sim| async move {
            let kafka = SimCluster::new().with_topic("t", 1);
            kafka.on(Produce).once().apply_then_lose_answer();
            let producer = start(&sim, kafka.backend().idempotence(idempotent));
            let report = producer.send(Record::to("t").payload("apples")).await.unwrap();
            assert_eq!(texts(&kafka, "t"), expected);
            assert_eq!(report.offset(), Some(expected.len() as i64 - 1), "the offset that the answer says");
            assert_eq!(sim.elapsed(), 2 * MS + 100 * MS + 2 * MS, "the backoff is between the two");
        });
    }
}

#[test]
fn s50_without_retries_a_lost_answer_is_possibly_persisted_and_a_refusal_is_not() {
    Sim::run(6, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().retries(0));
        kafka.on(Produce).once().apply_then_lose_answer();
        let lost = producer.produce(Record::to("t").payload("1")).await.unwrap().await.unwrap_err();
        kafka.on(Produce).once().lose_request();
        let unsent = producer.produce(Record::to("t").payload("2")).await.unwrap().await.unwrap_err();
        kafka.on(Produce).once().answer(ErrorCode::NotEnoughReplicas);
        let refused = producer.produce(Record::to("t").payload("3")).await.unwrap().await.unwrap_err();
        // The producer cannot know which of the first two it is.
        assert_eq!([lost.status(), unsent.status()], [Status::PossiblyPersisted; 2]);
        assert_eq!((refused.status(), refused.code()), (Status::NotPersisted, Some(ErrorCode::NotEnoughReplicas)));
        // The sequence numbers of what failed are not missed.
        producer.send(Record::to("t").payload("4")).await.unwrap();
        assert_eq!(texts(&kafka, "t"), ["1", "4"]);
    });
}

#[test]
fn s50_an_error_that_is_not_retriable_fails_its_batch_alone() {
    Sim::run(7, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        kafka.on(Produce).once().answer(ErrorCode::MsgSizeTooLarge);
        let producer = start(&sim, kafka.backend());
        let error = producer.produce(Record::to("t").payload("1")).await.unwrap().await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (FailureKind::TooLarge, Status::NotPersisted));
        producer.send(Record::to("t").payload("2")).await.unwrap();
        assert_eq!(texts(&kafka, "t"), ["2"]);
    });
}

#[test]
fn s50_after_append_errors_are_answered_after_the_append() {
    Sim::run(8, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        kafka.on(Produce).once().answer(ErrorCode::NotEnoughReplicasAfterAppend);
        let producer = start(&sim, kafka.backend().retries(0));
        let error = producer.produce(Record::to("t").payload("1")).await.unwrap().await.unwrap_err();
        assert_eq!(error.status(), Status::PossiblyPersisted);
        assert_eq!(texts(&kafka, "t"), ["1"]);
    });
}

#[test]
fn s50_a_fatal_answer_ends_the_producer() {
    Sim::run(9, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        kafka.on(Produce).once().answer(ErrorCode::OutOfOrderSequenceNumber);
        let producer = start(&sim, kafka.backend());
        let error = producer.produce(Record::to("t").payload("1")).await.unwrap().await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Fatal);
        assert!(producer.try_produce(Record::to("t")).is_err());
    });
}

#[test]
fn s50_records_wait_for_a_broker_that_is_stopped_and_time_out_unsent() {
    Sim::run(10, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        kafka.broker(1).stop();
        sim.sleep(MS).await;
        let (before, record) = (sim.elapsed(), Record::to("t").payload("1").timeout(10 * MS));
        let error = producer.produce(record).await.unwrap().await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted));
        assert_eq!(sim.elapsed() - before, 10 * MS);
        let waiting = producer.produce(Record::to("t").payload("2")).await.unwrap();
        kafka.broker(1).stop_for(Duration::from_secs(5));
        waiting.await.unwrap();
        assert_eq!(sim.elapsed() - before, 12 * MS + Duration::from_secs(5));
        assert_eq!(texts(&kafka, "t"), ["2"]);
    });
}

#[test]
fn s50_a_broker_that_stops_loses_requests_and_answers_and_idempotence_makes_up_for_it() {
    // The broker stops before the request arrives, and after it, before the answer does.
    for stops_after in [MS / 2, 3 * MS / 2] {
        Sim::run(11, |sim| async move {
            let kafka = SimCluster::new().with_topic("t", 1);
            let producer = start(&sim, kafka.backend());
            let delivery = producer.produce(Record::to("t").payload("1")).await.unwrap();
            sim.sleep(stops_after).await;
            kafka.broker(1).stop_for(Duration::from_secs(1));
            assert_eq!(texts(&kafka, "t").len(), usize::from(stops_after > MS));
            assert_eq!(delivery.await.unwrap().offset(), Some(0));
            assert_eq!(texts(&kafka, "t"), ["1"]);
        });
    }
}

#[test]
fn s50_what_is_under_way_when_a_broker_restarts_is_lost_though_it_is_back_in_time() {
    // Each way takes 50 ms. At 10 ms the request is under way, at 60 ms the answer. Without idempotence the log shows which was lost.
    for (stops_after, records) in [(10 * MS, 1), (60 * MS, 2)] {
        Sim::run(22, |sim| async move {
            let kafka = SimCluster::new().with_topic("t", 1);
            kafka.broker(1).slow(50 * MS);
            let producer = start(&sim, kafka.backend().idempotence(false));
            let delivery = producer.produce(Record::to("t").payload("1")).await.unwrap();
            sim.sleep(stops_after).await;
            kafka.broker(1).stop_for(5 * MS);
            delivery.await.unwrap();
            assert_eq!(texts(&kafka, "t").len(), records, "{}", kafka.trace());
        });
    }
}

#[test]
fn s50_other_brokers_take_over_and_min_in_sync_counts_them() {
    Sim::run(12, |sim| async move {
        let kafka = SimCluster::new().with_brokers(3).with_min_in_sync(2).with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        kafka.broker(1).stop();
        producer.send(Record::to("t").payload("1")).await.unwrap();
        assert_eq!(kafka.leader_of("t", 0).broker(), Some(2));
        kafka.broker(2).stop();
        let failed =
            producer.produce(Record::to("t").payload("2").timeout(Duration::from_secs(1))).await.unwrap().await;
        assert_eq!(failed.unwrap_err().kind(), FailureKind::TimedOut, "one of 3 is not enough");
        kafka.heal();
        producer.send(Record::to("t").payload("3")).await.unwrap();
        // The client has the second one still, as librdkafka has what has timed out.
        assert_eq!(texts(&kafka, "t"), ["1", "2", "3"]);
    });
}

#[test]
fn s50_a_paused_broker_appends_late_and_once() {
    Sim::run(13, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().request_timeout(Duration::from_secs(1)));
        kafka.broker(1).pause(Duration::from_secs(10));
        producer.send(Record::to("t").payload("1")).await.unwrap();
        assert!(sim.elapsed() >= Duration::from_secs(10), "{:?}", sim.elapsed());
        // All attempts arrive in the end.
        sim.sleep(LONG).await;
        assert_eq!(texts(&kafka, "t"), ["1"]);
        let attempts = kafka.trace().to_string().matches("are sent").count();
        assert!(attempts > 5, "{}", kafka.trace());
    });
}

#[test]
fn s50_a_paused_broker_makes_duplicates_without_idempotence() {
    Sim::run(13, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let backend = kafka.backend().request_timeout(Duration::from_secs(1)).idempotence(false);
        let producer = start(&sim, backend);
        kafka.broker(1).pause(Duration::from_secs(3));
        producer.send(Record::to("t").payload("1")).await.unwrap();
        sim.sleep(LONG).await;
        assert_eq!(texts(&kafka, "t"), ["1", "1", "1"], "the attempts at 0 s, 1.1 s and 2.2 s");
    });
}

#[test]
fn s50_a_leader_that_moves_is_found_after_one_refusal() {
    Sim::run(14, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        producer.send(Record::to("t").payload("1")).await.unwrap();
        kafka.leader_of("t", 0).move_to(2);
        producer.send(Record::to("t").payload("2")).await.unwrap();
        producer.send(Record::to("t").payload("3")).await.unwrap();
        assert_eq!(texts(&kafka, "t"), ["1", "2", "3"]);
        assert_eq!(kafka.trace().to_string().matches("answered NotLeaderForPartition").count(), 1, "{}", kafka.trace());
    });
}

#[test]
fn s50_a_slow_broker_is_slow() {
    Sim::run(15, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        kafka.broker(1).slow(50 * MS);
        let producer = start(&sim, kafka.backend());
        producer.send(Record::to("t")).await.unwrap();
        assert_eq!(sim.elapsed(), 100 * MS);
    });
}

#[test]
fn s50_a_topic_that_grows_is_known_when_its_metadata_are_old() {
    Sim::run(16, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        producer.send(Record::to("t").payload("1")).await.unwrap();
        kafka.grow("t", 4);
        let used = |kafka: &SimCluster| kafka.topic("t").records().iter().map(LogRecord::partition).max();
        for _ in 0..4 {
            producer.send(Record::to("t").payload("2")).await.unwrap();
        }
        assert_eq!(used(&kafka), Some(0), "not known yet");
        sim.sleep(Duration::from_secs(301)).await;
        for _ in 0..4 {
            producer.send(Record::to("t").payload("3")).await.unwrap();
        }
        assert_eq!(used(&kafka), Some(3));
        // A partition that a record names is looked for at once.
        kafka.grow("t", 5);
        producer.send(Record::to("t").partition(4).payload("4")).await.unwrap();
    });
}

#[test]
fn s50_a_full_queue_makes_records_wait_in_the_producer() {
    Sim::run(17, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().queue_records(3));
        let mut deliveries = Vec::new();
        for n in 0..20 {
            deliveries.push(producer.produce(Record::to("t").payload(n.to_string())).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        assert_eq!(texts(&kafka, "t"), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(sim.elapsed() >= 14 * MS, "at least 7 requests: {:?}", sim.elapsed());
    });
}

#[test]
fn s50_metadata_are_those_of_the_cluster_and_other_calls_are_not_simulated() {
    Sim::run(18, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_topic("t", 3);
        let producer = start(&sim, kafka.backend());
        producer.ready(["t"]).await.unwrap();
        assert_eq!(producer.ready(["typo"]).await.unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPart));
        kafka.broker(1).stop();
        let metadata = producer.metadata(None).await.unwrap();
        let partitions = &metadata.topic("t").unwrap().partitions;
        assert_eq!((metadata.brokers.len(), partitions.len(), partitions[0].leader), (1, 3, Some(2)));
        assert_eq!((&partitions[0].replicas[..], &partitions[0].in_sync[..]), (&[1, 2][..], &[2][..]));
        let error = producer.set_sasl_credentials("user", "password").await.unwrap_err();
        assert!(error.to_string().contains("not simulated"), "{error}");
        kafka.broker(2).stop();
        assert!(producer.metadata(None).await.unwrap_err().is_retriable());
    });
}

#[test]
fn s50_two_producers_write_to_one_cluster() {
    Sim::run(19, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producers = [start(&sim, kafka.backend()), start(&sim, kafka.backend())];
        let tasks = producers.map(|producer| {
            sim.spawn(async move {
                for n in 0..10 {
                    producer.send(Record::to("t").payload(n.to_string())).await.unwrap();
                }
            })
        });
        for task in tasks {
            task.await;
        }
        assert_eq!(kafka.topic("t").records().len(), 20);
    });
}

#[test]
fn s50_close_and_drop_end_the_client() {
    Sim::run(20, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        let delivery = producer.produce(Record::to("t").payload("1")).await.unwrap();
        assert!(producer.close(LONG).await.is_complete());
        delivery.await.unwrap();
        let other = start(&sim, kafka.backend());
        kafka.broker(1).pause(LONG);
        let delivery = other.produce(Record::to("t").payload("2")).await.unwrap();
        sim.sleep(MS / 2).await;
        drop(other);
        let error = delivery.await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::PossiblyPersisted));
        sim.sleep(MS).await;
        assert_eq!(kafka.trace().to_string().matches("ends").count(), 2, "{}", kafka.trace());
    });
}

#[test]
fn s50_a_purge_takes_what_waits_and_what_is_under_way() {
    Sim::run(21, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        kafka.on(Produce).once().delay(LONG);
        let sent = producer.produce(Record::to("t").payload("1")).await.unwrap();
        sim.sleep(MS).await;
        let queued = producer.produce(Record::to("t").payload("2")).await.unwrap();
        sim.sleep(MS).await;
        producer.purge(aioproducer_driver::PurgeScope::All).await;
        assert_eq!(queued.await.unwrap_err().status(), Status::NotPersisted);
        let error = sent.await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (FailureKind::Purged, Status::PossiblyPersisted));
        producer.send(Record::to("t").payload("3")).await.unwrap();
        // What is late is of an epoch that has ended.
        sim.sleep(2 * LONG).await;
        assert_eq!(texts(&kafka, "t"), ["3"]);
    });
}
