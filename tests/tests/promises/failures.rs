//! S15–S17, S39: a record fails alone, a full queue fails no record, and errors say whether to send again.

use std::time::Duration;

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_driver::error::ErrorCode;
use aioproducer_driver::{AioProducer, ProduceError, Record, SendError};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{NotQueued, Script, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s15_a_rejected_record_fails_alone,
    s15_one_bad_record_among_good_ones_on_a_broker,
    s16_a_full_queue_makes_the_rest_wait_in_order,
    s16_a_record_that_can_never_be_queued_fails_alone,
    s16_none_of_3000_fails_when_the_queue_holds_100,
    s17_a_delivery_ends_at_its_timeout_when_no_broker_answers,
    s39_errors_say_whether_it_makes_sense_to_send_again,
}

/// With the Python producer one bad record fails every later flush, its good neighbours are sent again, and close raises.
async fn s15_a_rejected_record_fails_alone(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut deliveries: Vec<_> = (0..5).map(|n| accepted(&producer, numbered(n))).collect();
    let rejected = failure(FailureKind::UnknownPartition, Status::NotPersisted);
    let hand = script.next().await.expect("a batch");
    let taken = hand.settle(|at| (at == 2).then_some(NotQueued::Rejected(rejected)));
    assert_eq!(texts(&taken), ["0", "1", "2", "3", "4"]);
    let error = at_once(deliveries.remove(2)).expect_err("rejected");
    assert_eq!((error.kind(), error.status()), (FailureKind::UnknownPartition, Status::NotPersisted));
    assert_eq!(error.into_record(), Some(numbered(2)));
    assert!(script.take().is_none(), "nothing is queued again");
    script.deliver([0, 1, 3, 4].map(|at| &taken[at]));
    for delivery in deliveries {
        delivery.await.expect("delivered");
    }
    assert!(at_once(producer.flush()).is_ok());
    let served = script.serve(&host);
    producer.send(numbered(5)).await.expect("delivered");
    assert!(producer.flush().await.is_ok());
    assert!(producer.close(Duration::MAX).await.is_complete());
    served.join().await;
    assert_eq!(texts(&script.log()), ["5"]);
    assert_eq!((producer.statistics().in_use, producer.statistics().stale_reports), (0, 0));
}

async fn s15_one_bad_record_among_good_ones_on_a_broker(host: Host) {
    let broker = broker::start_with_topic("good", 2);
    let mut config = broker::config(&broker);
    config.set("message.max.bytes", "10000");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    // Metadata is known from here on.
    producer.send(Record::to("good").partition(0).payload("first")).await.expect("delivered");
    let records = (0..20).map(|n| {
        let record = Record::to("good").payload(format!("{n:02}"));
        match n {
            7 => record.partition(99),
            13 => record.partition(n % 2).payload(vec![0; 20_000]),
            _ => record.partition(n % 2),
        }
    });
    let outcomes = producer.produce_all(records).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match (n, outcome) {
            (7, Err(SendError::Delivery(error))) => {
                assert_eq!((error.kind(), error.status()), (FailureKind::UnknownPartition, Status::NotPersisted));
                assert_eq!(error.into_record(), Some(Record::to("good").payload("07").partition(99)));
            }
            (13, Err(SendError::Produce(error))) => {
                assert!(matches!(*error, ProduceError::TooLarge { size: 20_000, .. }), "{error}");
            }
            (7 | 13, outcome) => panic!("{n}: {outcome:?}"),
            (_, outcome) => drop(outcome.expect("delivered")),
        }
    }
    assert!(producer.flush().await.is_ok(), "later flushes work");
    producer.send(Record::to("good").partition(1).payload("last")).await.expect("delivered");
    assert!(producer.close(Duration::from_secs(30)).await.is_complete(), "close works");
    let log = broker::read_back(&broker, "good", 2);
    let mut expected = vec![String::from("first")];
    expected.extend((0..20).step_by(2).map(|n| format!("{n:02}")));
    expected.extend((1..20).step_by(2).filter(|n| ![7, 13].contains(n)).map(|n| format!("{n:02}")));
    expected.push(String::from("last"));
    let found: Vec<_> = log.iter().map(|logged| logged.text().to_owned()).collect();
    assert_eq!(found, expected, "each good record exactly once");
}

async fn s16_a_full_queue_makes_the_rest_wait_in_order(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(6));
    let mut deliveries: Vec<_> = (0..10).map(|n| Observed::new(accepted(&producer, numbered(n)))).collect();
    let taken = script.next().await.expect("a batch").refuse_after(4);
    assert_eq!(producer.len(), 10, "none is lost from sight");
    assert!(script.take().is_none(), "the queue is full until something leaves it");
    deliveries.push(Observed::new(accepted(&producer, numbered(10))));
    assert!(script.take().is_none());
    assert!(deliveries.iter_mut().all(Observed::is_pending), "a full queue fails nothing");

    let wakes = script.wakes();
    script.deliver(&taken[..1]);
    assert!(script.wakes() > wakes, "a worker is woken when there is room again");
    let again = script.take().expect("the rest");
    assert_eq!(texts(again.records()), ["4", "5", "6", "7", "8", "9"]);
    let second = again.refuse_after(1);
    assert!(script.take().is_none());
    script.deliver(&taken[1..4]);
    script.deliver(&second[..1]);
    let third = script.take().expect("the rest").accept();
    assert_eq!(texts(&third), ["5", "6", "7", "8", "9", "10"]);
    script.deliver(&third);
    for (n, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.ready().expect("delivered").offset(), Some(n as i64));
    }
    assert_eq!(producer.statistics().stale_reports, 0);
}

async fn s16_a_record_that_can_never_be_queued_fails_alone(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let hopeless = accepted(&producer, numbered(0));
    let fine = accepted(&producer, numbered(1));
    // Refused by an empty queue: no report will ever make room.
    script.next().await.expect("a batch").refuse_after(0);
    let error = hopeless.await.expect_err("no room, ever");
    assert_eq!((error.kind(), error.status()), (FailureKind::QueueFull, Status::NotPersisted));
    assert_eq!(error.into_record(), Some(numbered(0)));
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["1"]);
    script.deliver(&taken);
    fine.await.expect("delivered");
}

/// With the Python producer 2,500 of 3,000 failed.
async fn s16_none_of_3000_fails_when_the_queue_holds_100(host: Host) {
    let broker = broker::start_with_topic("full", 1);
    let mut config = broker::config(&broker);
    config.set("queue.buffering.max.messages", "100");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config).workers(2)));
    let deliveries: Vec<_> =
        (0..3000).map(|n| accepted(&producer, Record::to("full").payload(n.to_string()))).collect();
    for (n, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.expect("none fails").offset(), Some(n as i64));
    }
    let log = broker::read_back(&broker, "full", 1);
    let found: Vec<_> = log.iter().map(|logged| logged.text().parse::<usize>().unwrap()).collect();
    assert_eq!(found, (0..3000).collect::<Vec<_>>(), "none lost, doubled or reordered");
}

async fn s17_a_delivery_ends_at_its_timeout_when_no_broker_answers(host: Host) {
    let timeout = Duration::from_millis(1000);
    let producer = host.start(AioProducer::builder(broker::unreachable()).delivery_timeout(timeout));
    let records = [Record::to("t").payload("any"), Record::to("t").payload("one").partition(1)];
    for outcome in producer.produce_all(records.clone()).await.into_iter().zip(records) {
        let (outcome, record) = outcome;
        let error = outcome.expect_err("no broker is there");
        assert_eq!(error.kind(), Some(FailureKind::TimedOut), "{error}");
        let SendError::Delivery(error) = error else { panic!("{error}") };
        assert_eq!(error.status(), Status::NotPersisted);
        assert_eq!(error.into_record(), Some(record));
    }
    assert!(producer.is_empty());
    assert!(producer.close(Duration::from_secs(30)).await.is_complete());
}

async fn s39_errors_say_whether_it_makes_sense_to_send_again(host: Host) {
    use FailureKind::{Broker, Purged, TimedOut, TooLarge, UnknownTopic};
    use Status::{NotPersisted, PossiblyPersisted};

    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    for (kind, status, code, retriable) in [
        (TimedOut, NotPersisted, ErrorCode::LocalMsgTimedOut, true),
        (TimedOut, PossiblyPersisted, ErrorCode::LocalMsgTimedOut, false),
        (Broker, NotPersisted, ErrorCode::NotEnoughReplicas, true),
        (Broker, PossiblyPersisted, ErrorCode::NotEnoughReplicasAfterAppend, false),
        (Broker, NotPersisted, ErrorCode::TopicAuthorizationFailed, false),
        (Broker, NotPersisted, ErrorCode::new(9_999), false),
        (UnknownTopic, NotPersisted, ErrorCode::UnknownTopicOrPart, true),
        (UnknownTopic, NotPersisted, ErrorCode::LocalUnknownTopic, false),
        (TooLarge, NotPersisted, ErrorCode::MsgSizeTooLarge, false),
        (Purged, NotPersisted, ErrorCode::LocalPurgeQueue, false),
    ] {
        let mut sending = Observed::new(producer.send(numbered(0)));
        assert!(sending.poll_in_turn().is_pending());
        let failure = Failure::new(kind, status, Some(code), "the script says so");
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
