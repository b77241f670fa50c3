//! S25, S26: close, and the end without close.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, texts};
use aioproducer_tests::{broker, promises};

mod in_time;

promises! {
    s25_close_sends_what_was_accepted_and_a_second_close_is_fine,
    s25_close_gives_back_what_could_not_be_sent,
    s25_a_dropped_close_goes_on_and_any_number_may_wait,
    s25_close_after_loss_of_the_backend_s_records,
    s26_drop_does_not_wait_and_pending_deliveries_fail,
    s26_drop_with_a_flush_elsewhere_waits_for_the_last_handle,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s25_close_sends_what_was_accepted_and_a_second_close_is_fine(host: Host) {
    let broker = broker::start_with_topic("closing", 1);
    let builder = AioProducer::builder(broker::backend(&broker)).linger(LONG).delivery_timeout(2 * LONG);
    let producer = host.start(builder);
    let deliveries: Vec<_> =
        (0..100).map(|n| accepted(&producer, Record::to("closing").payload(n.to_string()))).collect();
    let report = producer.close(LONG).await;
    assert!(report.is_complete() && report.unsent().is_empty());
    for delivery in deliveries {
        at_once(delivery).expect("delivered before close returned");
    }
    for _ in 0..3 {
        assert!(producer.clone().close(Duration::ZERO).await.is_complete());
    }
    assert_eq!(broker::read_back(&broker, "closing", 1).len(), 100);
}

async fn s25_close_gives_back_what_could_not_be_sent(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).batch_records(2));
    let mut deliveries: Vec<_> = (0..4).map(|n| accepted(&producer, numbered(n))).collect();
    let done = script.accept().await;
    let held = script.accept().await;
    script.deliver(&done);
    deliveries.extend((4..6).map(|n| accepted(&producer, Record::to("other").payload(n.to_string()))));
    let mut close = Observed::new(producer.close(Duration::from_millis(50)));
    assert!(close.is_pending());
    let report = close.into_future().await;
    assert!(!report.is_complete());
    let mut unsent: Vec<_> = report.into_unsent().into_iter().map(|unsent| (unsent.record, unsent.status)).collect();
    unsent.sort_by_key(|(record, _)| record.get_payload().map(<[u8]>::to_vec));
    let other = |n: usize| Record::to("other").payload(n.to_string());
    let expected = [
        (numbered(2), Status::PossiblyPersisted),
        (numbered(3), Status::PossiblyPersisted),
        (other(4), Status::NotPersisted),
        (other(5), Status::NotPersisted),
    ];
    assert_eq!(unsent, expected);
    let outcomes: Vec<_> = deliveries.into_iter().map(at_once).collect();
    assert!(outcomes[..2].iter().all(Result::is_ok));
    for (outcome, (record, status)) in outcomes.into_iter().skip(2).zip(expected) {
        let error = outcome.expect_err("not sent");
        assert!(matches!(error.kind(), FailureKind::Closed | FailureKind::Purged), "{error}");
        assert_eq!((error.status(), error.into_record()), (status, Some(record)));
    }
    assert!(producer.close(Duration::ZERO).await.is_complete(), "given back once");
    drop(held);
}

async fn s25_a_dropped_close_goes_on_and_any_number_may_wait(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let delivery = accepted(&producer, numbered(0));
    let mut dropped = Observed::new(producer.close(LONG));
    assert!(dropped.is_pending());
    drop(dropped);
    assert!(producer.is_closed());
    let mut waiting = [Observed::new(producer.close(LONG)), Observed::new(producer.close(LONG))];
    assert!(waiting.iter_mut().all(Observed::is_pending));
    let taken = script.accept().await;
    script.deliver(&taken);
    delivery.await.expect("delivered");
    for close in waiting {
        assert!(close.wakes() > 0);
        assert!(close.ready().is_complete());
    }
    assert_eq!(script.shut_downs(), 1);
}

async fn s25_close_after_loss_of_the_backend_s_records(host: Host) {
    let script = Script::new();
    script.stay_up();
    let producer = host.start(AioProducer::builder(script.backend()));
    let lost = accepted(&producer, numbered(0));
    let _taken = script.accept().await;
    let mut close = Observed::new(producer.close(Duration::ZERO));
    assert!(close.is_pending());
    host.until(|| script.shut_downs() == 1).await;
    script.vanish();
    let error = lost.await.expect_err("lost");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::PossiblyPersisted));
    close.into_future().await;
    assert!(producer.is_empty());
}

async fn s26_drop_does_not_wait_and_pending_deliveries_fail(host: Host) {
    let script = Script::new();
    script.stay_up();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(1));
    let mut held = Observed::new(accepted(&producer, numbered(0)));
    let taken = script.accept().await;
    let buffered = accepted(&producer, numbered(1));
    // The backend does not end before the test lets it, so a drop that waited would never return.
    drop(producer);
    assert_eq!(script.shut_downs(), 1);
    let error = at_once(buffered).expect_err("never sent");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::NotPersisted));
    assert_eq!(error.into_record(), Some(numbered(1)));
    assert!(held.is_pending(), "the backend still has it");
    script.end();
    let error = held.ready().expect_err("purged");
    assert_eq!((error.status(), error.into_record()), (Status::PossiblyPersisted, Some(numbered(0))));
    assert_eq!(texts(&taken), ["0"]);
}

async fn s26_drop_with_a_flush_elsewhere_waits_for_the_last_handle(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let clone = producer.clone();
    let delivery = accepted(&producer, numbered(0));
    drop(producer);
    assert_eq!(script.shut_downs(), 0, "a clone is a handle");
    let flushed = host.spawn(async move { clone.flush().await });
    let taken = script.accept().await;
    script.deliver(&taken);
    delivery.await.expect("delivered");
    assert!(flushed.join().await.is_ok());
    host.until(|| script.shut_downs() == 1).await;
}
