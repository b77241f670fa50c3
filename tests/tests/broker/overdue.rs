//! S17 on librdkafka 2.12, which can keep a record of a transaction for good: metadata says that its topic is gone while the
//! record is on its way, the broker asks for it again, and it goes back to a queue that is not read any more.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::TransactionError;
use aioproducer_driver::transaction::Remedy;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::at_once;
use aioproducer_tests::{broker, promises};

promises! {
    s17_a_record_that_librdkafka_keeps_for_good_ends,
}

const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPart;

async fn s17_a_record_that_librdkafka_keeps_for_good_ends(host: Host) {
    let mut kept = false;
    for _ in 0..30 {
        kept = is_kept(&host).await;
        if kept {
            break;
        }
    }
    assert!(kept, "librdkafka ended the record each time");
}

/// Whether librdkafka kept the record. It does not if it asked the slow broker for metadata, too.
async fn is_kept(host: &Host) -> bool {
    let broker = EmbeddedBroker::start_with(3).expect("a cluster");
    broker.create_topic("t", 1, 3).expect("a topic");
    broker.partition_leader("t", 0, Some(2)).expect("a leader");
    broker.transaction_coordinator("tests", 1).expect("a coordinator");
    let mut config = broker::config(&broker);
    config.set("transactional.id", "tests");
    config.set("topic.metadata.refresh.interval.ms", "100").set("topic.metadata.propagation.max.ms", "300");
    let builder = AioProducer::builder(Librdkafka::new(config)).delivery_timeout(Duration::from_secs(3));
    let producer = host.start(builder.call_timeout(Duration::from_secs(4)));
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(Record::to("t").payload("first")).await.expect("delivered");

    broker.round_trip_time(2, Duration::from_secs(1)).expect("slow");
    broker.request_errors(ApiKey::Produce, &[UNKNOWN]).expect("errors");
    let delivery = at_once(transaction.produce(Record::to("t").payload("kept"))).expect("accepted");
    host.until(|| producer.statistics().handed_off == 1).await;
    broker.topic_error("t", UNKNOWN).expect("an error");
    let error = delivery.await.expect_err("its topic is gone");
    let kept = error.status() != Status::NotPersisted;
    if kept {
        assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::PossiblyPersisted), "{error}");
        assert_eq!(producer.statistics().in_use, 1, "librdkafka has it");
        host.until(|| producer.statistics().overdue == 1).await;
        assert!(producer.is_empty() && producer.flush().await.is_ok());
    }
    let error = transaction.commit().await.expect_err("one is missing");
    assert_eq!(error.remedy(), Remedy::Abort);
    assert!(matches!(error.error(), TransactionError::Undelivered { records: 1, .. }), "{error:?}");
    let aborted = error.into_transaction().expect("to be aborted").abort().await;
    if kept {
        let error = aborted.expect_err("librdkafka cannot abort while it has the record");
        assert_eq!(error.remedy(), Remedy::GiveUp, "{error:?}");
        assert!(producer.fatal_error().is_some());
        assert!(matches!(producer.begin().await, Err(TransactionError::Fatal { .. })));
    } else {
        aborted.expect("aborted");
    }
    assert!(producer.close(Duration::from_secs(9)).await.is_complete());
    kept
}
