//! S39: each error says what to do next.

use aioproducer_core::backend::{Call, Group, GroupOffset};
use aioproducer_driver::transaction::Remedy;
use aioproducer_driver::{AioProducer, ProduceError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::numbered;
use aioproducer_tests::scripted::{Script, begun, retriable, to_abort};

promises! {
    s39_errors_say_what_is_left_to_do,
    s39_an_abort_that_failed_can_be_called_again,
}

async fn s39_errors_say_what_is_left_to_do(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    // A refused begin leaves nothing.
    producer_init(&script, &producer).await;
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    script.asked().await.refuse(4);
    let error = begin.ready().expect_err("refused");
    assert_eq!((error.remedy(), error.code()), (Remedy::GiveUp, Some(4.into())));

    // Offsets whose error requires an abort end the transaction.
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

    // So does a commit that the broker refuses.
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
    assert!(script.asked_already().is_none(), "it is not called again");

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
