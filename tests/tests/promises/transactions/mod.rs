//! S36–S39 with a backend that the test controls: what is called when, and what callers get.

use std::time::Duration;

use aioproducer_core::backend::{Call, FailureKind, Group, GroupOffset, Status};
use aioproducer_driver::error::TransactionError;
use aioproducer_driver::transaction::Remedy;
use aioproducer_driver::{AioProducer, ProduceError, SendError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted_in, numbered};
use aioproducer_tests::scripted::{Script, begun, retriable, texts};

mod commit_and_abort;
mod ends;
mod errors;

promises! {
    s36_a_transaction_from_init_to_commit,
    s36_a_record_that_comes_through_no_transaction_is_handed_back,
    s36_one_transaction_at_a_time,
    s36_a_dropped_transaction_is_aborted_and_the_next_waits_for_it,
    s36_a_cancelled_task_aborts_its_transaction,
    s36_a_begin_that_is_dropped_leaves_nothing_open,
    s36_init_can_be_called_apart_and_again,
    s36_offsets_are_sent_within_the_transaction,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s36_a_transaction_from_init_to_commit(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let answered = script.answer_all(&host);
    for round in 0..2 {
        let transaction = producer.begin().await.expect("it begins");
        transaction.send(numbered(round)).await.expect("delivered");
        let outcomes = transaction.produce_all([numbered(7), numbered(8)]).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let delivery = transaction.try_produce(numbered(9)).expect("accepted");
        transaction.commit().await.expect("committed");
        at_once(delivery).expect("a commit comes after all deliveries");
    }
    producer.begin().await.expect("it begins").abort().await.expect("aborted");
    assert!(producer.close(LONG).await.is_complete());
    served.join().await;
    let (begin, commit) = (Call::Begin, Call::Commit);
    let expected = [Call::InitTransactions, begin.clone(), commit.clone(), begin.clone(), commit, begin, Call::Abort];
    assert_eq!(answered.join().await, expected);
    assert_eq!(texts(&script.log()), ["0", "7", "8", "9", "1", "7", "8", "9"]);
}

async fn s36_a_record_that_comes_through_no_transaction_is_handed_back(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    for open in [false, true] {
        let transaction = if open { Some(begun(&script, &producer).await) } else { None };
        let outside = |error: ProduceError<'_>| match error {
            ProduceError::OutsideTransaction(record) => assert_eq!(record, numbered(1)),
            other => panic!("{other:?}"),
        };
        outside(producer.try_produce(numbered(1)).expect_err("no transaction"));
        outside(producer.produce(numbered(1)).await.expect_err("no transaction"));
        for outcome in producer.produce_all([numbered(1)]).await {
            let Err(SendError::Produce(error)) = outcome else { panic!("{outcome:?}") };
            outside(*error);
        }
        assert!(producer.is_empty());
        drop(transaction);
    }

    let plain = host.start(AioProducer::builder(Script::new().backend()));
    let error = plain.begin().await.expect_err("no transactional id");
    assert_eq!((&error, error.remedy()), (&TransactionError::NotTransactional, Remedy::GiveUp));
    assert_eq!(plain.init_transactions().await, Err(TransactionError::NotTransactional));
    assert!(plain.in_doubt().is_none());
}

async fn s36_one_transaction_at_a_time(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut first = Observed::new(producer.begin());
    assert!(first.is_pending());
    assert_eq!(at_once(producer.begin()).expect_err("one is beginning"), TransactionError::AlreadyOpen);
    assert_eq!(script.asked().await.done(), Call::InitTransactions);
    assert_eq!(script.asked().await.done(), Call::Begin);
    let transaction = first.ready().expect("it begins");
    let error = at_once(producer.begin()).expect_err("one is open");
    assert_eq!((&error, error.remedy()), (&TransactionError::AlreadyOpen, Remedy::Retry));
    let delivery = accepted_in(&transaction, 0);
    let taken = script.accept().await;
    script.deliver(&taken);
    delivery.await.expect("the refused one did no harm");
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    assert!(at_once(producer.begin()).is_err(), "not before the commit is through");
    script.asked().await.done();
    commit.ready().expect("committed");
}

async fn s36_a_dropped_transaction_is_aborted_and_the_next_waits_for_it(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let delivery = accepted_in(&transaction, 0);
    drop(transaction);
    let mut next = Observed::new(producer.begin());
    assert!(next.is_pending());
    let abort = script.asked().await;
    assert_eq!(*abort.call(), Call::Abort);
    assert!(next.is_pending() && script.asked_already().is_none());
    let error = delivery.await.expect_err("never sent");
    assert_eq!((error.kind(), error.status()), (FailureKind::Purged, Status::NotPersisted));
    abort.done();
    assert_eq!(script.asked().await.done(), Call::Begin);
    let transaction = next.into_future().await.expect("it begins");
    drop(accepted_in(&transaction, 1));
    assert_eq!(texts(&script.accept().await), ["1"]);
}

async fn s36_a_cancelled_task_aborts_its_transaction(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let transaction = begun(&script, &producer).await;
    let mut task = Observed::new(async move {
        let _held = transaction.produce(numbered(0)).await.expect("accepted");
        // The pool is full.
        transaction.send(numbered(1)).await.expect("room");
        transaction.commit().await.expect("committed");
    });
    assert!(task.is_pending());
    let taken = script.accept().await;
    assert_eq!(producer.statistics().waiters, 1);
    drop(task);
    assert_eq!(producer.statistics().waiters, 0);
    assert_eq!(script.asked().await.done(), Call::Abort);
    let mut next = Observed::new(producer.begin());
    assert!(next.is_pending(), "a record of the one before has no outcome");
    script.deliver(&taken);
    script.asked().await.done();
    let transaction = next.into_future().await.expect("it begins");
    drop(accepted_in(&transaction, 2));
}

async fn s36_a_begin_that_is_dropped_leaves_nothing_open(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    // Before its init is answered.
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    drop(begin);
    assert_eq!(script.asked().await.done(), Call::InitTransactions);
    assert!(script.asked_already().is_none(), "no task wants it any more");
    // Before its begin is.
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    let asked = script.asked().await;
    drop(begin);
    assert_eq!(asked.done(), Call::Begin);
    assert_eq!(script.asked().await.done(), Call::Abort);
    drop(begun(&script, &producer).await);
}

async fn s36_init_can_be_called_apart_and_again(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut init = Observed::new(producer.init_transactions());
    let mut other = Observed::new(producer.init_transactions());
    assert!(init.is_pending() && other.is_pending());
    script.asked().await.answer(Err(retriable(7)));
    for init in [init, other] {
        let error = init.ready().expect_err("refused");
        assert_eq!((error.remedy(), error.code()), (Remedy::Retry, Some(7.into())));
        assert!(error.to_string().contains("the script says 7"));
    }
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    script.asked().await.answer(Err(retriable(8)));
    assert_eq!(begin.ready().expect_err("refused").code(), Some(8.into()));
    let mut init = Observed::new(producer.init_transactions());
    assert!(init.is_pending());
    assert_eq!(script.asked().await.done(), Call::InitTransactions);
    init.ready().expect("it is done");
    at_once(producer.init_transactions()).expect("it was done before");
    assert!(script.asked_already().is_none());
}

async fn s36_offsets_are_sent_within_the_transaction(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let offsets = vec![GroupOffset::new("in", 0, 5), GroupOffset::new("in", 1, 7)];
    let group = Group::new("g");
    at_once(transaction.send_offsets([], group.clone())).expect("nothing to do");
    let mut sent = Observed::new(transaction.send_offsets(offsets.clone(), group.clone()));
    assert!(sent.is_pending());
    let asked = script.asked().await;
    assert_eq!(*asked.call(), Call::SendOffsets { offsets: offsets.clone(), group: group.clone() });
    asked.answer(Err(retriable(3)));
    let error = sent.ready().expect_err("not yet");
    assert_eq!((error.remedy(), error.code()), (Remedy::Retry, Some(3.into())));
    let mut sent = Observed::new(transaction.send_offsets(offsets.clone(), group.clone()));
    assert!(sent.is_pending());
    script.asked().await.done();
    sent.ready().expect("sent");
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    script.asked().await.done();
    commit.ready().expect("committed");

    // It fails after its future was dropped: the transaction would commit without the offsets.
    let transaction = begun(&script, &producer).await;
    let mut sent = Observed::new(transaction.send_offsets(offsets, group));
    assert!(sent.is_pending());
    drop(sent);
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    let asked = script.asked().await;
    assert!(script.asked_already().is_none(), "a commit does not overtake it");
    asked.answer(Err(retriable(3)));
    let error = commit.ready().expect_err("not without the offsets");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::Abort, Some(3.into())));
}
