//! S44: every error of a record says what to do with it, and what it says is so.

use std::time::Duration;

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_driver::error::{Advice, ErrorCode};
use aioproducer_driver::{AioProducer, Overflow, ProduceError, Record, SendError};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::Host;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s44_each_failed_delivery_says_what_to_do,
    s44_a_record_that_was_not_accepted_says_what_to_do,
    s44_what_is_to_be_sent_again_is_in_the_log_once,
}

/// Every code with every status, and every kind without a code. `aioproducer-core` checks the advice itself.
async fn s44_each_failed_delivery_says_what_to_do(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let by_code = ErrorCode::all().map(|code| (FailureKind::Broker, Some(code)));
    for (kind, code) in by_code.chain(FailureKind::all().map(|kind| (kind, None))) {
        for status in Status::all() {
            let failure = Failure::new(kind, status, code, "the script says so");
            let delivery = accepted(&producer, numbered(0));
            script.fail(&script.accept().await[0], failure);
            let error = delivery.await.expect_err("it failed");
            let said = (error.advice(), error.is_retriable());
            assert_eq!(said, (failure.advice(), failure.is_retriable()), "{failure:?}");
            let error = SendError::from(error);
            assert_eq!((error.advice(), error.is_retriable()), said, "{failure:?}");
        }
    }
}

async fn s44_a_record_that_was_not_accepted_says_what_to_do(host: Host) {
    let script = Script::with_record_bytes(100);
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).topics(1));
    let said = |record: Record<'static>| {
        let error = producer.try_produce(record).expect_err("it is not accepted");
        let said = (error.advice(), error.is_retriable());
        let error = SendError::from(error);
        assert_eq!((error.advice(), error.is_retriable(), error.status()), (said.0, said.1, Status::NotPersisted));
        said
    };
    let pending = accepted(&producer, numbered(0));
    assert_eq!(said(numbered(1)), (Advice::ResendAfter, true), "the pool is full");
    let waited = producer.produce(numbered(1).timeout(Duration::from_millis(1))).await.expect_err("no room in time");
    assert!(matches!(waited, ProduceError::TimedOut(_)), "{waited}");
    assert_eq!((waited.advice(), waited.is_retriable()), (Advice::ResendAfter, true));
    assert_eq!(said(numbered(1).payload(vec![0; 200])), (Advice::FixRecord, false));
    assert_eq!(said(numbered(1).partition(-3)), (Advice::FixRecord, false));
    assert_eq!(said(Record::to("")), (Advice::FixRecord, false));
    assert_eq!(said(Record::to("another")), (Advice::FixRecord, false), "one topic too many");

    script.fatal(failure(FailureKind::Fatal, Status::PossiblyPersisted));
    let error = pending.await.expect_err("the producer has ended");
    assert_eq!((error.advice(), error.is_retriable()), (Advice::RenewProducer, false));
    assert_eq!(said(numbered(1)), (Advice::RenewProducer, false));

    let producer = host.start(AioProducer::builder(Script::new().backend()));
    producer.close(Duration::from_secs(10)).await;
    let closed = producer.send(numbered(0)).await.expect_err("closed");
    assert_eq!((closed.advice(), closed.is_retriable()), (Advice::RenewProducer, false));

    let producer = host.start(AioProducer::builder(Script::transactional().backend()));
    let outside = producer.send(numbered(0)).await.expect_err("there is no transaction");
    assert_eq!((outside.advice(), outside.is_retriable()), (Advice::GiveUp, false));

    let script = Script::new();
    let dropping = AioProducer::builder(script.backend()).slots(1).overflow(Overflow::DropOldest);
    let producer = host.start(dropping);
    let (oldest, newest) = (accepted(&producer, numbered(0)), accepted(&producer, numbered(1)));
    let dropped = oldest.await.expect_err("the pool was full");
    assert_eq!((dropped.advice(), dropped.is_retriable()), (Advice::ResendAfter, true));
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["1"]);
    script.deliver(&taken);
    newest.await.expect("delivered");
}

async fn s44_what_is_to_be_sent_again_is_in_the_log_once(host: Host) {
    let broker = broker::start_with_topic("again", 1);
    let builder = || AioProducer::builder(Librdkafka::new(broker::config(&broker)));
    broker.broker_down(-1).expect("down");
    let hasty = host.start(builder().delivery_timeout(Duration::from_millis(500)));
    let error = hasty.send(Record::to("again").payload("x")).await.expect_err("no broker is there");
    assert_eq!((error.advice(), error.status()), (Advice::Resend, Status::NotPersisted), "{error}");
    broker.broker_up(-1).expect("up");
    let lasting = host.start(builder());
    lasting.send(error.into_record().expect("the record")).await.expect("delivered");
    // Whatever the first one still does comes before its next record.
    while hasty.send(Record::to("again").payload("y").partition(0)).await.is_err() {}
    let log = broker::read_back(&broker, "again", 1);
    assert_eq!(log.iter().filter(|logged| logged.text() == "x").count(), 1, "{log:?}");
}
