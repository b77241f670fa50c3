//! S25, S26, S31, S39: transactions whose outcome is unknown, and those whose producer ends.

use std::time::Duration;

use aioproducer_core::backend::{Call, FailureKind};
use aioproducer_driver::error::{ErrorCode, TransactionError};
use aioproducer_driver::transaction::Remedy;
use aioproducer_driver::{AioProducer, ProduceError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted_in, numbered};
use aioproducer_tests::scripted::{Script, begun, retriable, to_abort};

promises! {
    s39_a_commit_of_unknown_outcome_is_named_and_stops_the_next,
    s39_a_commit_that_is_dropped_on_its_way_is_in_doubt,
    s39_a_dropped_commit_that_was_refused_is_reported,
    s39_a_commit_that_is_dropped_before_its_call_is_an_abort,
    s39_after_a_fatal_error_nothing_goes_on,
    s25_close_aborts_an_open_transaction,
    s25_close_does_not_wait_longer_than_it_may,
    s25_close_lets_a_commit_end,
    s26_drop_with_an_open_transaction_leaves_nothing_waiting,
    s30_any_future_of_a_transaction_may_be_dropped_at_any_poll,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s39_a_commit_of_unknown_outcome_is_named_and_stops_the_next(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut commit = Observed::new(begun(&script, &producer).await.commit());
    assert!(commit.is_pending());
    script.asked().await.answer(Err(retriable(-185)));
    let error = commit.ready().expect_err("the outcome is unknown");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::Resolve, Some((-185).into())));
    assert!(error.to_string().contains("unknown"), "{error}");
    let transaction = error.into_transaction().expect("to be committed again");
    assert!(producer.in_doubt().is_none(), "somebody has it");
    let error = at_once(transaction.abort()).expect_err("it may be committed");
    assert_eq!((error.error(), error.remedy()), (&TransactionError::InDoubt, Remedy::Resolve));
    drop(error);

    assert!(script.asked_already().is_none(), "dropping it decides nothing");
    let error = at_once(producer.begin()).expect_err("not silently");
    assert_eq!((&error, error.remedy()), (&TransactionError::InDoubt, Remedy::Resolve));
    let transaction = producer.in_doubt().expect("no task has it");
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    assert_eq!(script.asked().await.done(), Call::Commit);
    commit.ready().expect("it is committed");
    assert!(producer.in_doubt().is_none());
    drop(begun(&script, &producer).await);
}

async fn s39_a_commit_that_is_dropped_on_its_way_is_in_doubt(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut commit = Observed::new(begun(&script, &producer).await.commit());
    assert!(commit.is_pending());
    let asked = script.asked().await;
    drop(commit);
    assert_eq!(at_once(producer.begin()).expect_err("on its way"), TransactionError::InDoubt);
    asked.done();
    assert_eq!(at_once(producer.begin()).expect_err("the outcome is unknown"), TransactionError::InDoubt);
    at_once(producer.in_doubt().expect("it is there").commit()).expect("it was committed");
    assert!(script.asked_already().is_none(), "and is not committed twice");
    drop(begun(&script, &producer).await);
}

async fn s39_a_dropped_commit_that_was_refused_is_reported(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut commit = Observed::new(begun(&script, &producer).await.commit());
    assert!(commit.is_pending());
    let asked = script.asked().await;
    drop(commit);
    asked.answer(Err(to_abort(49)));
    assert_eq!(at_once(producer.begin()).expect_err("its records are not there"), TransactionError::InDoubt);
    let error = at_once(producer.in_doubt().expect("it is there").commit()).expect_err("refused");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::Abort, Some(49.into())));
    drop(error);
    assert_eq!(script.asked().await.done(), Call::Abort);
    drop(begun(&script, &producer).await);
}

async fn s39_a_commit_that_is_dropped_before_its_call_is_an_abort(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    for polled in [false, true] {
        let transaction = begun(&script, &producer).await;
        let delivery = accepted_in(&transaction, 0);
        let taken = script.accept().await;
        let mut commit = Observed::new(transaction.commit());
        if polled {
            assert!(commit.is_pending());
        }
        drop(commit);
        assert_eq!(script.asked().await.done(), Call::Abort);
        script.deliver(&taken);
        delivery.await.expect("delivered");
    }
    drop(begun(&script, &producer).await);
}

async fn s39_after_a_fatal_error_nothing_goes_on(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    assert_eq!(producer.fatal_error(), None);
    let transaction = begun(&script, &producer).await;
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    // Fenced: another producer has the transactional id.
    script.asked().await.fail_for_good(90);
    let error = commit.ready().expect_err("fatal");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::GiveUp, Some(90.into())));
    assert!(error.into_transaction().is_none());
    let fatal = producer.fatal_error().expect("it is known");
    assert_eq!((fatal.code(), fatal.reason()), (Some(ErrorCode::ProducerFenced), "the script says it is fatal"));
    assert_eq!(fatal.to_string(), "the script says it is fatal, ProducerFenced (90)");
    let error = at_once(producer.begin()).expect_err("fatal");
    assert_eq!(error, TransactionError::Fatal { code: Some(ErrorCode::ProducerFenced), reason: fatal.reason() });
    assert_eq!(error.remedy(), Remedy::GiveUp);
    assert_eq!(at_once(producer.init_transactions()), Err(error));
    drop(producer.close(LONG).await);
    assert!(script.asked_already().is_none());
}

async fn s25_close_aborts_an_open_transaction(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(1));
    let transaction = begun(&script, &producer).await;
    let [first, second] = [0, 1].map(|number| accepted_in(&transaction, number));
    let sent = script.accept().await;
    let mut close = Observed::new(producer.close(LONG));
    assert!(close.is_pending());
    assert_eq!(second.await.expect_err("not sent").kind(), FailureKind::Purged);
    let abort = script.asked().await;
    assert_eq!(*abort.call(), Call::Abort);
    script.deliver(&sent);
    first.await.expect("delivered");
    assert!(close.is_pending() && script.shut_downs() == 0, "the coordinator has to hear of it");
    abort.done();
    let report = close.into_future().await;
    let unsent: Vec<_> = report.into_unsent().into_iter().map(|unsent| unsent.record).collect();
    assert_eq!(unsent, [numbered(1)], "what was taken back is handed out");
    assert!(matches!(at_once(transaction.produce(numbered(2))), Err(ProduceError::Closed(_))));
    assert_eq!(at_once(transaction.commit()).expect_err("aborted").error(), &TransactionError::Over);
    assert_eq!(at_once(producer.begin()).expect_err("closed"), TransactionError::Closed);
}

async fn s25_close_does_not_wait_longer_than_it_may(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    let asked = script.asked().await;
    assert!(producer.close(Duration::from_millis(20)).await.is_complete());
    asked.done();
    let error = commit.into_future().await.expect_err("the answer came too late");
    assert_eq!(error.remedy(), Remedy::Resolve, "{error:?}");
    let error = at_once(error.into_transaction().expect("in doubt").commit()).expect_err("the backend is gone");
    assert_eq!(error.error(), &TransactionError::Closed);
}

async fn s25_close_lets_a_commit_end(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let delivery = accepted_in(&transaction, 0);
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    let mut close = Observed::new(producer.close(LONG));
    assert!(close.is_pending());
    let sent = script.accept().await;
    script.deliver(&sent);
    delivery.await.expect("delivered");
    assert!(close.is_pending());
    assert_eq!(script.asked().await.done(), Call::Commit);
    commit.ready().expect("committed");
    assert!(close.into_future().await.is_complete());
}

async fn s26_drop_with_an_open_transaction_leaves_nothing_waiting(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let deliveries = [accepted_in(&transaction, 0), accepted_in(&transaction, 1)];
    drop(producer);
    assert_eq!(script.shut_downs(), 0, "a transaction keeps its producer");
    drop(transaction);
    assert_eq!(script.shut_downs(), 1);
    for delivery in deliveries {
        assert!(delivery.await.is_err());
    }
}

/// Each future is dropped at its first, second, … poll while its calls are answered. Then the next transaction begins and
/// commits.
async fn s30_any_future_of_a_transaction_may_be_dropped_at_any_poll(host: Host) {
    for polls in 0..6 {
        for commits in [true, false] {
            let script = Script::transactional();
            let producer = host.start(AioProducer::builder(script.backend()));
            let _served = script.serve(&host);
            let mut work = Observed::new({
                let producer = producer.clone();
                async move {
                    producer.init_transactions().await.expect("it is done");
                    let transaction = producer.begin().await.expect("it begins");
                    drop(transaction.produce(numbered(0)).await.expect("accepted"));
                    if commits {
                        transaction.commit().await.expect("committed");
                    } else {
                        transaction.abort().await.expect("aborted");
                    }
                }
            });
            for _ in 0..polls {
                if work.poll().is_ready() {
                    break;
                }
                if let Some(asked) = script.asked_already() {
                    asked.done();
                }
            }
            drop(work);
            let _answered = script.answer_all(&host);
            if let Some(transaction) = producer.in_doubt() {
                transaction.commit().await.expect("committed");
            }
            let transaction = producer.begin().await.expect("it begins");
            transaction.send(numbered(1)).await.expect("delivered");
            transaction.commit().await.expect("committed");
            assert!(producer.is_empty());
            assert!(producer.close(LONG).await.is_complete());
        }
    }
}
