//! S36, S37, S38: commit waits for deliveries, abort takes back what was not sent.

use std::error::Error;
use std::time::Duration;

use aioproducer_core::backend::{Call, FailureKind, Group, GroupOffset, Status};
use aioproducer_driver::error::TransactionError;
use aioproducer_driver::transaction::Remedy;
use aioproducer_driver::{AioProducer, ProduceError, PurgeScope};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted_in, numbered};
use aioproducer_tests::scripted::{Script, begun, failure, retriable, texts};

promises! {
    s36_no_commit_without_the_offsets_whose_future_was_dropped,
    s37_commit_waits_for_every_delivery_and_ends_the_linger,
    s37_commit_fails_if_a_delivery_failed,
    s37_a_purge_during_a_commit_fails_it,
    s38_abort_takes_back_what_was_not_sent,
    s38_nothing_of_an_aborted_transaction_slips_into_the_next,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s37_commit_waits_for_every_delivery_and_ends_the_linger(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).batch_records(2));
    let transaction = begun(&script, &producer).await;
    let deliveries = [0, 1, 2].map(|number| accepted_in(&transaction, number));
    let first = script.accept().await;
    assert!(script.take().is_none(), "the third lingers");
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    assert!(script.flushing() && script.flushes() > 0, "the backend is notified");
    let rest = script.accept().await;
    assert_eq!(texts(&rest), ["2"]);
    script.deliver(&first);
    assert!(commit.is_pending() && script.asked_already().is_none(), "one has no outcome yet");
    script.deliver(&rest);
    assert!(!script.flushing());
    let asked = script.asked().await;
    assert!(commit.is_pending());
    assert_eq!(asked.done(), Call::Commit);
    commit.ready().expect("committed");
    for delivery in deliveries {
        at_once(delivery).expect("delivered");
    }
}

async fn s37_commit_fails_if_a_delivery_failed(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let _deliveries = [0, 1, 2, 3].map(|number| accepted_in(&transaction, number));
    let taken = script.accept().await;
    script.fail(&taken[1], failure(FailureKind::TooLarge, Status::NotPersisted));
    script.fail(&taken[2], failure(FailureKind::TimedOut, Status::PossiblyPersisted));
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    script.deliver([&taken[0], &taken[3]]);
    let error = commit.ready().expect_err("two failed");
    match error.error() {
        TransactionError::Undelivered { records: 2, first: Some(first) } => {
            assert_eq!(first.kind, FailureKind::TooLarge);
        }
        other => panic!("{other:?}"),
    }
    let (text, cause) = (error.to_string(), error.source().map(ToString::to_string));
    assert!(text.contains('2') && cause.as_deref() == Some("the script says so"), "{text}: {cause:?}");
    assert_eq!(error.remedy(), Remedy::Abort);
    assert!(script.asked_already().is_none(), "nothing was committed");
    let transaction = error.into_transaction().expect("to be aborted");
    assert!(matches!(at_once(transaction.produce(numbered(4))), Err(ProduceError::TransactionOver(_))));
    let error = at_once(transaction.commit()).expect_err("still not");
    let mut abort = Observed::new(error.into_transaction().expect("to be aborted").abort());
    assert!(abort.is_pending());
    assert_eq!(script.asked().await.done(), Call::Abort);
    abort.ready().expect("aborted");

    let mut commit = Observed::new(begun(&script, &producer).await.commit());
    assert!(commit.is_pending());
    script.asked().await.done();
    commit.ready().expect("the next one does not know");
}

async fn s36_no_commit_without_the_offsets_whose_future_was_dropped(host: Host) {
    for answered in [false, true] {
        let script = Script::transactional();
        let producer = host.start(AioProducer::builder(script.backend()));
        let transaction = begun(&script, &producer).await;
        let sending = || transaction.send_offsets([GroupOffset::new("in", 0, 1)], Group::new("g"));
        let mut before = Observed::new(sending());
        if !answered {
            assert!(before.is_pending(), "another call is out");
        }
        let mut sent = Observed::new(sending());
        assert!(sent.is_pending());
        if answered {
            script.asked().await.answer(Err(retriable(-7)));
        }
        drop(sent);
        drop(before);
        let error = transaction.commit().await.expect_err("it lacks the offsets");
        assert_eq!(error.remedy(), Remedy::Abort);
    }
}

async fn s37_a_purge_during_a_commit_fails_it(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let (sender, outcome) = smol::channel::bounded(1);
    let callback = move |outcome: Result<_, aioproducer_driver::DeliveryError>| {
        sender.try_send(outcome.map(|_| ()).map_err(|error| error.kind())).expect("once");
    };
    at_once(transaction.produce_with(numbered(0), callback)).expect("accepted");
    let hand = script.next().await.expect("a batch");
    let behind = accepted_in(&transaction, 1);
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    producer.purge(PurgeScope::Queued).await;
    assert_eq!(behind.await.expect_err("purged").kind(), FailureKind::Purged);
    let taken = hand.accept();
    assert_eq!(script.purges(), [(true, false)]);
    script.deliver(&taken);
    assert_eq!(outcome.recv().await, Ok(Ok(())), "its neighbour was delivered");
    let error = commit.into_future().await.expect_err("a record was not delivered");
    assert_eq!(error.remedy(), Remedy::Abort);
}

async fn s38_abort_takes_back_what_was_not_sent(host: Host) {
    const RECORDS: usize = 500;
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(2).linger(LONG));
    let transaction = begun(&script, &producer).await;
    let mut deliveries: Vec<_> = (0..RECORDS).map(|number| accepted_in(&transaction, number)).collect();
    let sent = script.accept().await;
    assert_eq!(texts(&sent), ["0", "1"]);
    let mut abort = Observed::new(transaction.abort());
    assert!(abort.is_pending());
    assert!(script.take().is_none(), "what is about to be taken back is not handed off");
    for (number, delivery) in deliveries.drain(2..).enumerate() {
        let error = delivery.await.expect_err("taken back");
        assert_eq!((error.kind(), error.status()), (FailureKind::Purged, Status::NotPersisted));
        assert_eq!(error.into_record(), Some(numbered(number + 2)));
    }
    assert_eq!(script.asked().await.done(), Call::Abort);
    assert!(abort.is_pending(), "two are in flight");
    script.deliver(&sent[..1]);
    script.fail(&sent[1], failure(FailureKind::Purged, Status::PossiblyPersisted));
    abort.into_future().await.expect("aborted");
    let mut deliveries = deliveries.into_iter();
    deliveries.next().expect("the first").await.expect("delivered, and aborted");
    assert_eq!(deliveries.next().expect("the second").await.expect_err("purged").kind(), FailureKind::Purged);
}

async fn s38_nothing_of_an_aborted_transaction_slips_into_the_next(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let deliveries = [0, 1, 2].map(|number| accepted_in(&transaction, number));
    // A worker has taken the batch and hands it off late.
    let hand = script.next().await.expect("a batch");
    let mut abort = Observed::new(transaction.abort());
    assert!(abort.is_pending());
    script.asked().await.done();
    assert!(abort.is_pending(), "the batch may still be handed off");
    assert!(at_once(producer.begin()).is_err());
    let rejected = failure(FailureKind::State, Status::NotPersisted);
    let taken = hand.settle(|at| match at {
        0 => None,
        1 => Some(aioproducer_tests::scripted::NotQueued::Rejected(rejected)),
        _ => Some(aioproducer_tests::scripted::NotQueued::Refused),
    });
    script.fail(&taken[0], failure(FailureKind::Purged, Status::NotPersisted));
    abort.into_future().await.expect("aborted");
    for delivery in deliveries {
        let error = delivery.await.expect_err("none is sent");
        assert_eq!((error.kind(), error.status()), (FailureKind::Purged, Status::NotPersisted));
    }
    let transaction = begun(&script, &producer).await;
    drop(accepted_in(&transaction, 3));
    assert_eq!(texts(&script.accept().await), ["3"]);
}
