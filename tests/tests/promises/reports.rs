//! S9, S20, S23, S39: what fits the hand: a stream of reports, errors that say whether to try again, times.

use std::time::{Duration, SystemTime};

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_driver::{AioProducer, DeliveryReport, ErrorCode, ProduceError, Record, SendError};
use aioproducer_tests::executor::{Executor, Host, TokioCurrent, watched};
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::Script;
use aioproducer_tests::{broker, promises};

promises! {
    s20_reports_come_one_by_one_until_all_were_read,
    s20_a_report_that_nobody_waits_for_any_more_is_not_lost,
    s02_a_reporter_that_tries_hands_back_what_finds_no_room,
    s10_a_reporter_refuses_records_when_its_reports_are_gone,
    s39_errors_say_whether_it_makes_sense_to_send_again,
    s08_times_are_the_system_s,
}

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
        assert_eq!((tag, outcome.expect("delivered").offset()), (expected, expected as i64));
    }
    produced.join().await;
    drop(other);
    assert!(reports.next().await.is_none() && reports.next().await.is_none(), "no reporter is left");
    producer.close(Duration::from_secs(10)).await;
    served.join().await;
}

async fn s20_a_report_that_nobody_waits_for_any_more_is_not_lost(host: Host) {
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

    // What the producer refuses leaves the place in the stream free.
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
    assert!(waiting.wakes() > wakes, "who waits hears of it");
    let refused = [
        (1, waiting.ready().expect_err("nobody reads")),
        (2, reporter.try_produce(numbered(2), 2).expect_err("nobody reads")),
        (3, reporter.clone().produce(numbered(3), 3).await.expect_err("nobody reads")),
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

async fn s39_errors_say_whether_it_makes_sense_to_send_again(host: Host) {
    use FailureKind::{Broker, Purged, TimedOut, TooLarge, UnknownTopic};
    use Status::{NotPersisted, PossiblyPersisted};

    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    for (kind, status, code, retriable) in [
        (TimedOut, NotPersisted, ErrorCode::LOCAL_MSG_TIMED_OUT, true),
        (TimedOut, PossiblyPersisted, ErrorCode::LOCAL_MSG_TIMED_OUT, false),
        (Broker, NotPersisted, ErrorCode::NOT_ENOUGH_REPLICAS, true),
        (Broker, PossiblyPersisted, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, false),
        (Broker, NotPersisted, ErrorCode::TOPIC_AUTHORIZATION_FAILED, false),
        (Broker, NotPersisted, ErrorCode::new(9_999), false),
        (UnknownTopic, NotPersisted, ErrorCode::UNKNOWN_TOPIC_OR_PART, true),
        (UnknownTopic, NotPersisted, ErrorCode::LOCAL_UNKNOWN_TOPIC, false),
        (TooLarge, NotPersisted, ErrorCode::MSG_SIZE_TOO_LARGE, false),
        (Purged, NotPersisted, ErrorCode::LOCAL_PURGE_QUEUE, false),
    ] {
        let mut sending = Observed::new(producer.send(numbered(0)));
        assert!(sending.poll_in_turn().is_pending());
        let failure = Failure { kind, status, code: code.number(), reason: "the script says so" };
        script.fail(&script.accept().await[0], failure);
        let error = sending.ready().expect_err("it failed");
        assert_eq!((error.code(), error.is_retriable()), (Some(code), retriable), "{kind:?} {status:?} {code}");
        let SendError::Delivery(error) = error else { panic!("it was accepted") };
        assert_eq!((error.code(), error.is_retriable()), (Some(code), retriable));
    }
    producer.close(Duration::from_secs(10)).await;
    let closed = producer.send(numbered(0)).await.expect_err("closed");
    assert_eq!((closed.code(), closed.is_retriable()), (None, false));
}

async fn s08_times_are_the_system_s(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let record = Record::to("t").payload("x").timestamp(then + Duration::from_micros(7));
    assert_eq!((record.get_timestamp(), record.get_timestamp_millis()), (Some(then), Some(1_700_000_000_123)));
    let report = producer.send(record).await.expect("delivered");
    // Whose time it is, is the broker's to say; this one has its own idea.
    let millis = report.timestamp_millis().expect("a time");
    let told = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.try_into().expect("after the epoch"));
    assert_eq!(report.timestamp(), Some(told));
    let deleted = producer.send(Record::tombstone("t", "key")).await.as_ref().map(DeliveryReport::offset).ok();
    assert_eq!(deleted, Some(1));
}

#[test]
fn s31_a_flush_of_callbacks_ends_with_the_runtime_that_runs_them() {
    watched(|| {
        let executor = TokioCurrent::new();
        let script = Script::new();
        let host = executor.host();
        let producer = host.start(AioProducer::builder(script.backend()));
        executor.block_on(async {
            producer.produce_with_async(numbered(0), |_| std::future::pending()).await.expect("accepted");
            script.deliver(&script.accept().await);
            host.until(|| producer.statistics().callbacks_waiting == 1 && producer.is_empty()).await;
        });
        let mut flush = Observed::new(producer.flush().callbacks());
        assert!(flush.poll_in_turn().is_pending());
        let wakes = flush.wakes();
        drop((executor, host));
        assert!(flush.wakes() > wakes);
        assert_eq!(flush.ready(), Ok(()));
    });
}
