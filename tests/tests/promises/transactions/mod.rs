//! S36–S39 with a backend that answers as told: what is called when, and what callers hear of it.

use std::time::Duration;

use aioproducer_core::backend::{Call, FailureKind, Group, GroupOffset, Status};
use aioproducer_driver::{AioProducer, ProduceError, Remedy, SendError, TransactionError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted_in, numbered};
use aioproducer_tests::scripted::{Script, begun, failure, retriable, texts, to_abort};

mod ends;

promises! {
    s36_a_transaction_from_init_to_commit,
    s36_a_record_that_comes_through_no_transaction_is_handed_back,
    s36_one_transaction_at_a_time,
    s36_a_dropped_transaction_is_aborted_and_the_next_waits_for_it,
    s36_a_cancelled_task_aborts_its_transaction,
    s36_a_begin_that_is_dropped_leaves_nothing_open,
    s36_init_can_be_called_apart_and_again,
    s36_offsets_are_sent_within_the_transaction,
    s36_offsets_that_nobody_waits_for_are_not_committed_without,
    s37_commit_waits_for_every_delivery_and_ends_the_linger,
    s37_commit_fails_if_a_delivery_failed,
    s37_a_purge_during_a_commit_fails_it,
    s38_abort_takes_back_what_was_not_sent,
    s38_nothing_of_an_aborted_transaction_slips_into_the_next,
    s39_errors_say_what_is_left_to_do,
    s39_an_abort_that_failed_can_be_called_again,
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
    assert!(script.asked_already().is_none(), "nobody wants it any more");
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

    // Whose caller is gone when it fails: the transaction would commit without them.
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

async fn s37_commit_waits_for_every_delivery_and_ends_the_linger(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).batch_records(2));
    let transaction = begun(&script, &producer).await;
    let deliveries = [0, 1, 2].map(|number| accepted_in(&transaction, number));
    let first = script.accept().await;
    assert!(script.take().is_none(), "the third lingers");
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    assert!(script.flushing() && script.flushes() > 0, "the backend is told");
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
    let text = error.to_string();
    assert!(text.contains('2') && text.contains("the script says so"), "{text}");
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

async fn s36_offsets_that_nobody_waits_for_are_not_committed_without(host: Host) {
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
    let (tell, told) = smol::channel::bounded(1);
    let callback = move |outcome: Result<_, aioproducer_driver::DeliveryError>| {
        tell.try_send(outcome.map(|_| ()).map_err(|error| error.kind())).expect("once");
    };
    at_once(transaction.produce_with(numbered(0), callback)).expect("accepted");
    let hand = script.next().await.expect("a batch");
    let behind = accepted_in(&transaction, 1);
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    producer.purge(true, false).await;
    assert_eq!(behind.await.expect_err("purged").kind(), FailureKind::Purged);
    let taken = hand.accept();
    assert_eq!(script.purges(), [(true, false)]);
    script.deliver(&taken);
    assert_eq!(told.recv().await, Ok(Ok(())), "its neighbour was delivered");
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
    // A worker has taken the batch and is slow to hand it off.
    let hand = script.next().await.expect("a batch");
    let mut abort = Observed::new(transaction.abort());
    assert!(abort.is_pending());
    script.asked().await.done();
    assert!(abort.is_pending(), "the batch may still be handed off");
    assert!(at_once(producer.begin()).is_err());
    let verdict = failure(FailureKind::State, Status::NotPersisted);
    let taken = hand.settle(|at| match at {
        0 => None,
        1 => Some(aioproducer_tests::scripted::Verdict::Rejected(verdict)),
        _ => Some(aioproducer_tests::scripted::Verdict::Refused),
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

async fn s39_errors_say_what_is_left_to_do(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    // A begin that is refused leaves nothing.
    producer_init(&script, &producer).await;
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    script.asked().await.refuse(4);
    let error = begin.ready().expect_err("refused");
    assert_eq!((error.remedy(), error.code()), (Remedy::GiveUp, Some(4.into())));

    // Offsets that can only be aborted end the transaction.
    let transaction = begun(&script, &producer).await;
    let mut sent = Observed::new(transaction.send_offsets([GroupOffset::new("in", 0, 1)], Group::new("g")));
    assert!(sent.is_pending());
    script.asked().await.answer(Err(to_abort(30)));
    assert_eq!(sent.ready().expect_err("refused").remedy(), Remedy::Abort);
    let error = transaction.try_produce(numbered(0)).expect_err("only abort is left");
    assert!(matches!(&error, ProduceError::TransactionOver(record) if *record == numbered(0)), "{error:?}");
    let again = at_once(transaction.send_offsets([GroupOffset::new("in", 0, 1)], Group::new("g")));
    assert_eq!(again.expect_err("only abort is left").remedy(), Remedy::Abort);
    let error = at_once(transaction.commit()).expect_err("only abort is left");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::Abort, Some(30.into())));
    drop(error);
    assert_eq!(script.asked().await.done(), Call::Abort, "dropped with its error");

    // A commit that the broker refuses, too.
    let mut commit = Observed::new(begun(&script, &producer).await.commit());
    assert!(commit.is_pending());
    script.asked().await.answer(Err(to_abort(49)));
    let error = commit.ready().expect_err("refused");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::Abort, Some(49.into())));
    let mut abort = Observed::new(error.into_transaction().expect("to be aborted").abort());
    assert!(abort.is_pending());
    script.asked().await.done();
    abort.ready().expect("aborted");
}

async fn producer_init(script: &Script, producer: &AioProducer) {
    let mut init = Observed::new(producer.init_transactions());
    assert!(init.is_pending());
    script.asked().await.done();
    init.ready().expect("it is done");
}

async fn s39_an_abort_that_failed_can_be_called_again(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut abort = Observed::new(begun(&script, &producer).await.abort());
    assert!(abort.is_pending());
    script.asked().await.answer(Err(retriable(7)));
    let error = abort.ready().expect_err("not yet");
    assert_eq!((error.remedy(), error.error().code()), (Remedy::Abort, Some(7.into())));
    let mut abort = Observed::new(error.into_transaction().expect("to be aborted").abort());
    assert!(abort.is_pending());
    script.asked().await.answer(Err(retriable(8)));
    drop(abort.ready().expect_err("not yet"));
    assert!(script.asked_already().is_none(), "nobody asks for it again");

    // Until the next begin.
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    assert_eq!(script.asked().await.answer(Err(retriable(9))), Call::Abort);
    assert_eq!(begin.ready().expect_err("not before it is aborted").code(), Some(9.into()));
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    assert_eq!(script.asked().await.done(), Call::Abort);
    assert_eq!(script.asked().await.done(), Call::Begin);
    drop(begin.ready().expect("it begins"));
}
