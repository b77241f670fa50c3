//! S3, S4, S5: a record and its outcome.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Bytes, Delivery, PurgeScope, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::Observed;
use aioproducer_tests::records::{accepted, failed, numbered};
use aioproducer_tests::scripted::{Script, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s03_an_outcome_tells_where_the_record_is,
    s03_a_failure_gives_the_record_back_and_says_whether_it_is_in_the_log,
    s03_a_report_agrees_with_the_log,
    s04_a_delivery_stays_pending_until_its_own_report,
    s05_a_dropped_delivery_does_not_cancel_the_record,
    s03_short_records_that_part_ways_come_back_as_they_were,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s03_an_outcome_tells_where_the_record_is(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    script.serve(&host);
    for offset in 0..3 {
        let delivery = producer.produce(Record::to("where").partition(4).payload("x")).await.expect("accepted");
        let report = delivery.await.expect("delivered");
        assert_eq!((report.topic(), report.partition(), report.offset()), ("where", 4, Some(offset)));
        assert_eq!(report.timestamp_millis(), Some(1_000 + offset));
    }
}

async fn s03_a_failure_gives_the_record_back_and_says_whether_it_is_in_the_log(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let statuses = [Status::NotPersisted, Status::PossiblyPersisted, Status::Persisted];
    let kinds = [FailureKind::UnknownPartition, FailureKind::Broker, FailureKind::TimedOut];
    for (status, kind) in statuses.into_iter().zip(kinds) {
        let record = Record::to("t").key("k").payload("p").partition(2).timestamp_millis(9).header("a", "1");
        let record = record.null_header("b").header("a", "");
        let delivery = producer.produce(record.clone()).await.expect("accepted");
        let taken = script.accept().await;
        script.fail(&taken[0], failure(kind, status));
        let error = delivery.await.expect_err("failed");
        assert_eq!((error.kind(), error.status(), error.code()), (kind, status, Some((-7).into())));
        let text = error.to_string();
        assert!(text.contains("the script says so") && text.contains("topic t"), "{text}");
        assert_eq!(error.record(), Some(&record));
        assert_eq!(error.into_record(), Some(record));
        assert!(producer.is_empty());
    }
}

async fn s03_a_report_agrees_with_the_log(host: Host) {
    let broker = broker::start_with_topic("reports", 4);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let mut expected = Vec::new();
    for number in 0..50_i64 {
        let record = Record::to("reports").key(format!("key-{number}")).payload(number.to_string());
        let report = producer.send(record.timestamp_millis(1_000_000 + number)).await.expect("delivered");
        assert_eq!(report.topic(), "reports");
        // The embedded broker reports a log-append time of its own and stores the record's.
        assert!(report.timestamp_millis().is_some());
        expected.push((
            report.partition(),
            report.offset().expect("an offset"),
            Some(1_000_000 + number),
            number.to_string(),
        ));
    }
    expected.sort();
    let log = broker::read_back(&broker, "reports", 4);
    let found: Vec<_> = log.iter().map(|l| (l.partition, l.offset, l.timestamp, l.text().to_owned())).collect();
    assert_eq!(found, expected);
}

async fn s04_a_delivery_stays_pending_until_its_own_report(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut deliveries: Vec<_> = (0..3).map(|n| Observed::new(accepted(&producer, numbered(n)))).collect();
    let still = |deliveries: &mut [Observed<Delivery>]| deliveries.iter_mut().all(Observed::is_pending);
    assert!(still(&mut deliveries), "in the buffer");
    let hand = script.next().await.expect("a batch");
    assert!(still(&mut deliveries), "in a worker's hands");
    let taken = hand.accept();
    assert!(still(&mut deliveries), "handed off");
    script.deliver([&taken[1]]);
    let wakes: Vec<_> = deliveries.iter().map(Observed::wakes).collect();
    assert_eq!(wakes, [0, 1, 0]);
    assert_eq!(deliveries.remove(1).ready().expect("delivered").offset(), Some(0));
    assert!(still(&mut deliveries), "a neighbour's report is not theirs");
    script.deliver([&taken[2], &taken[0]]);
    let offsets: Vec<_> =
        deliveries.into_iter().map(|d| d.ready().expect("delivered").offset().expect("an offset")).collect();
    assert_eq!(offsets, [2, 1]);
}

async fn s05_a_dropped_delivery_does_not_cancel_the_record(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(3));
    drop(accepted(&producer, numbered(0)));
    let mut polled = Observed::new(accepted(&producer, numbered(1)));
    assert!(polled.is_pending());
    drop(polled);
    let after_hand_off = accepted(&producer, numbered(2));
    let taken = script.accept().await;
    drop(after_hand_off);
    assert_eq!(texts(&taken), ["0", "1", "2"]);
    assert_eq!(producer.statistics().in_use, 3);
    script.deliver(&taken[..2]);
    script.fail(&taken[2], failure(FailureKind::Broker, Status::NotPersisted));
    assert_eq!(producer.statistics().in_use, 0, "slots return by themselves");
}

/// The backend copies short records and drops them at hand-off.
async fn s03_short_records_that_part_ways_come_back_as_they_were(host: Host) {
    // Nothing is sent: it lingers in librdkafka.
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("linger.ms", "100000");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let shared = Bytes::from_static(b"shared");
    let keyed = || Record::to("t").key("key");
    let forms = [
        keyed().payload("lent"),
        keyed().payload(&shared),
        Record::to("t").key(&shared).payload(String::from("owned")),
        keyed().payload(vec![7; 100]).urgent(),
        Record::to("t").key(String::from("owned")).payload("lent").timeout(LONG),
        Record::to("t").payload(&shared).timeout(LONG).urgent(),
        keyed(),
        Record::to("t").key("").payload(""),
    ];
    for round in 0..3 {
        let deliveries: Vec<_> = forms.iter().map(|record| accepted(&producer, record.clone())).collect();
        // librdkafka purges a topic in two steps, so the second step may take records that were produced after the first.
        host.until(|| producer.statistics().buffered == 0).await;
        producer.purge(PurgeScope::All).await;
        for (record, delivery) in forms.iter().zip(deliveries) {
            let failed = failed(delivery.await);
            assert_eq!(failed, (FailureKind::Purged, Status::NotPersisted, record.clone()), "round {round}");
        }
    }
    producer.close(LONG).await;
}
