//! S2, S3, S10, S20: outcomes as a stream, each with the tag of its record.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_core::backend::FailureKind;
use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::Script;
use aioproducer_tests::{broker, promises};

promises! {
    s20_reports_come_one_by_one_until_all_were_read,
    s20_a_report_whose_wait_was_dropped_is_not_lost,
    s02_a_reporter_that_tries_hands_back_what_finds_no_room,
    s10_a_reporter_refuses_records_when_its_reports_are_gone,
    s03_a_stream_tells_all_outcomes_with_their_tags,
    s03_a_stream_s_room_is_the_limit,
}

const LONG: Duration = Duration::from_secs(3600);

fn numbered(number: usize) -> Record<'static> {
    Record::to("t").partition(0).payload(number.to_string())
}

async fn s20_reports_come_one_by_one_until_all_were_read(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let (reporter, mut reports) = producer.reports(2);
    let (other, second) = (reporter.clone(), reporter);
    let produced = host.spawn(async move {
        for tag in 0..5 {
            second.produce(numbered(tag), tag).await.expect("accepted");
        }
    });
    for expected in 0..5 {
        let (tag, outcome) = reports.next().await.expect("a report");
        assert_eq!((tag, outcome.expect("delivered").offset()), (expected, Some(expected as i64)));
    }
    produced.join().await;
    drop(other);
    assert!(reports.next().await.is_none() && reports.next().await.is_none(), "no reporter is left");
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s20_a_report_whose_wait_was_dropped_is_not_lost(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let (reporter, mut reports) = producer.reports(2);
    reporter.try_produce(numbered(7), "tag").expect("accepted");
    let mut given_up = Observed::new(reports.next());
    assert!(given_up.poll_in_turn().is_pending());
    let wakes = given_up.wakes();
    script.deliver(&script.accept().await);
    host.until(|| given_up.wakes() > wakes).await;
    drop(given_up);
    assert_eq!(at_once(reports.next()).map(|(tag, outcome)| (tag, outcome.is_ok())), Some(("tag", true)));
}

async fn s02_a_reporter_that_tries_hands_back_what_finds_no_room(host: Host) {
    let script = Script::with_record_bytes(100);
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let (reporter, mut reports) = producer.reports(1);
    reporter.try_produce(numbered(0), 0).expect("room");
    let full = reporter.try_produce(numbered(1), 1).expect_err("the stream is full");
    assert!(matches!(&full, ProduceError::Full(record) if *record == numbered(1)) && full.is_retriable(), "{full}");
    let mut waiting = Observed::new(reporter.produce(numbered(2), 2));
    assert!(waiting.poll_in_turn().is_pending());
    script.deliver(&script.accept().await);
    assert_eq!(reports.next().await.map(|(tag, _)| tag), Some(0));
    assert!(matches!(reporter.try_produce(numbered(3), 3), Err(ProduceError::Full(_))), "others wait for that place");
    assert!(waiting.poll_in_turn().is_ready());
    script.deliver(&script.accept().await);
    assert_eq!(reports.next().await.map(|(tag, _)| tag), Some(2));

    // A refused record leaves its place in the stream free.
    let large = Record::to("t").payload(vec![0; 101]);
    let refused = reporter.try_produce(large.clone(), 4).expect_err("too large");
    assert!(matches!(refused, ProduceError::TooLarge { .. }) && !refused.is_retriable());
    assert_eq!(refused.into_record(), large);
    let _held: Vec<_> = (0..2).map(|n| producer.try_produce(numbered(n)).expect("room")).collect();
    assert!(matches!(reporter.try_produce(numbered(5), 5), Err(ProduceError::Full(_))), "the pool is full");
    script.deliver(&script.accept().await);
    reporter.try_produce(numbered(6), 6).expect("room again, here and there");
}

async fn s10_a_reporter_refuses_records_when_its_reports_are_gone(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let (reporter, reports) = producer.reports(1);
    reporter.try_produce(numbered(0), 0).expect("accepted");
    let mut waiting = Observed::new(reporter.produce(numbered(1), 1));
    assert!(waiting.poll_in_turn().is_pending(), "there is one place");
    let wakes = waiting.wakes();
    drop(reports);
    assert!(waiting.wakes() > wakes, "the waiting task is woken");
    let refused = [
        (1, waiting.ready().expect_err("no task reads the reports")),
        (2, reporter.try_produce(numbered(2), 2).expect_err("no task reads the reports")),
        (3, reporter.clone().produce(numbered(3), 3).await.expect_err("no task reads the reports")),
    ];
    for (number, error) in refused {
        assert!(error.to_string().contains("Reports of this Reporter were dropped"), "{error}");
        assert!(matches!(&error, ProduceError::ReportsDropped(_)) && !error.is_retriable());
        assert_eq!(error.into_record(), numbered(number));
    }
    let sent = script.accept().await;
    assert_eq!(sent.len(), 1, "what was accepted before goes its way");
    script.deliver(&sent);
    host.until(|| producer.is_empty()).await;
}

async fn s03_a_stream_tells_all_outcomes_with_their_tags(host: Host) {
    const RECORDS: usize = 1000;
    let broker = broker::start_with_topic("t", 3);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(100));
    let (reporter, mut reports) = producer.reports::<usize>(200);
    let load = host.spawn(async move {
        let error = reporter.produce(Record::to("no such/name"), 0).await.expect_err("not a name");
        assert!(matches!(error, ProduceError::Topic { .. }));
        let other = reporter.clone();
        for number in 0..RECORDS {
            let partition = (number % 4) as i32;
            let record = numbered(number).partition(partition);
            let reporter = if number % 2 == 0 { &reporter } else { &other };
            reporter.produce(record, number).await.expect("accepted");
        }
    });
    let mut offsets = BTreeMap::<i32, Vec<i64>>::new();
    let mut failed = 0;
    let mut tags = Vec::new();
    while let Some((tag, outcome)) = reports.next().await {
        tags.push(tag);
        match outcome {
            Ok(report) => offsets.entry(report.partition()).or_default().push(report.offset().expect("an offset")),
            Err(error) => {
                assert_eq!((error.kind(), tag % 4), (FailureKind::UnknownPartition, 3));
                failed += 1;
            }
        }
    }
    load.join().await;
    tags.sort_unstable();
    assert_eq!(tags, (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(failed, RECORDS / 4);
    for (partition, offsets) in offsets {
        assert_eq!(offsets, (0..RECORDS as i64 / 4).collect::<Vec<_>>(), "partition {partition}");
    }
    producer.close(LONG).await;
}

async fn s03_a_stream_s_room_is_the_limit(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let (reporter, mut reports) = producer.reports::<u8>(2);
    for tag in 0..2 {
        reporter.produce(numbered(0), tag).await.expect("accepted");
    }
    let mut third = Observed::new(reporter.produce(numbered(2), 2));
    assert!(third.is_pending());
    drop(Observed::new(reporter.produce(numbered(3), 3)));
    host.until(|| producer.is_empty() && producer.statistics().callbacks_waiting == 0).await;
    assert!(third.is_pending(), "no report was read");
    assert_eq!(reports.next().await.map(|(tag, _)| tag), Some(0));
    assert!(third.wakes() > 0 && third.ready().is_ok());
    drop(reports);
    let refused = reporter.produce(numbered(4), 4).await.expect_err("no task reads the reports");
    assert!(matches!(refused, ProduceError::ReportsDropped(_)), "{refused}");
    drop(reporter);
    producer.close(LONG).await;
    served.join().await;
}
