//! S2, S5, S7, S10: a record is accepted, handed back, or was never sent.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, ProduceError, Record, SendError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::Observed;
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure, texts};

promises! {
    s02_try_produce_never_waits_and_hands_the_record_back,
    s02_try_produce_does_not_overtake_waiting_tasks,
    s05_a_dropped_produce_was_never_sent_and_the_next_moves_up,
    s05_a_produce_dropped_after_its_wake_passes_the_room_on,
    s07_send_does_both_in_one_call,
    s10_a_closed_producer_refuses_and_hands_back,
    s10_a_task_that_waits_while_it_closes_gets_the_record_back,
}

async fn s02_try_produce_never_waits_and_hands_the_record_back(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let delivery = producer.try_produce(numbered(0)).expect("room");
    let (key, payload) = (String::from("key"), vec![1, 2, 3]);
    let record = Record::to("t").key(&key).payload(&payload).header("h", "v").partition(3).timestamp_millis(7);
    let full: ProduceError<'static> = producer.try_produce(record.clone()).expect_err("no room");
    assert!(matches!(full, ProduceError::Full(back) if back == record));
    match producer.try_produce_borrowed(record.clone()) {
        Err(ProduceError::Full(back)) => {
            assert_eq!(back, record);
            let addresses = (back.get_key().unwrap().as_ptr(), back.get_payload().unwrap().as_ptr());
            assert_eq!(addresses, (key.as_ptr(), payload.as_ptr()), "the very same bytes, not a copy");
        }
        other => panic!("{other:?}"),
    }
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["0"]);
    script.deliver(&taken);
    delivery.await.expect("delivered");
    let again = producer.try_produce(record).expect("room again");
    script.serve(&host);
    again.await.expect("delivered");
}

async fn s02_try_produce_does_not_overtake_waiting_tasks(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let held = accepted(&producer, numbered(0));
    let mut waiting = Observed::new(producer.produce(numbered(1)));
    assert!(waiting.is_pending());
    let taken = script.accept().await;
    script.deliver(&taken);
    held.await.expect("delivered");
    // There is room now, but it is reserved.
    assert!(matches!(producer.try_produce(numbered(2)), Err(ProduceError::Full(_))));
    let second = waiting.ready().expect("room");
    script.serve(&host);
    second.await.expect("delivered");
    assert_eq!(texts(&script.log()), ["1"]);
}

async fn s05_a_dropped_produce_was_never_sent_and_the_next_moves_up(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let first = accepted(&producer, numbered(0));
    let mut dropped = Observed::new(producer.produce(numbered(1)));
    let mut next = Observed::new(producer.produce(numbered(2)));
    assert!(dropped.is_pending() && next.is_pending());
    drop(dropped);
    assert!(next.is_pending());
    assert_eq!(producer.statistics().waiters, 1);
    script.serve(&host);
    first.await.expect("delivered");
    let next = next.into_future().await.expect("accepted");
    next.await.expect("delivered");
    assert_eq!(texts(&script.log()), ["0", "2"]);
    assert_eq!(producer.statistics().acquired, 2);
}

async fn s05_a_produce_dropped_after_its_wake_passes_the_room_on(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let first = accepted(&producer, numbered(0));
    let mut woken = Observed::new(producer.produce(numbered(1)));
    let mut next = Observed::new(producer.produce(numbered(2)));
    assert!(woken.is_pending() && next.is_pending());
    let taken = script.accept().await;
    script.deliver(&taken);
    first.await.expect("delivered");
    assert_eq!((woken.wakes() > 0, next.wakes()), (true, 0));
    drop(woken);
    assert!(next.wakes() > 0, "the room is the next one's");
    let next = next.ready().expect("accepted");
    script.serve(&host);
    next.await.expect("delivered");
    assert_eq!(texts(&script.log()), ["2"]);
}

async fn s07_send_does_both_in_one_call(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut sent = Observed::new(producer.send(numbered(0)));
    assert!(sent.is_pending());
    let taken = script.accept().await;
    assert!(sent.is_pending());
    script.deliver(&taken);
    assert_eq!(sent.ready().expect("delivered").offset(), Some(0));

    let mut sent = Observed::new(producer.send(numbered(1)));
    assert!(sent.is_pending());
    let taken = script.accept().await;
    script.fail(&taken[0], failure(FailureKind::Broker, Status::PossiblyPersisted));
    let error = sent.ready().expect_err("failed");
    assert_eq!(error.kind(), Some(FailureKind::Broker));
    assert_eq!(error.into_record(), Some(numbered(1)));

    let error = producer.send(Record::to("").payload("x")).await.expect_err("refused");
    assert!(matches!(&error, SendError::Produce(refused) if matches!(**refused, ProduceError::Topic { .. })));
    assert_eq!(error.into_record(), Some(Record::to("").payload("x")));
}

async fn s10_a_closed_producer_refuses_and_hands_back(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    assert!(producer.close(Duration::from_secs(1)).await.is_complete());
    assert!(producer.is_closed());
    let record = || Record::to("t").key("k").payload("p");
    match producer.produce(record()).await {
        Err(ProduceError::Closed(back)) => assert_eq!(back, record()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(producer.try_produce(record()), Err(ProduceError::Closed(back)) if back == record()));
    let sent = producer.send(record()).await.expect_err("closed");
    assert!(matches!(&sent, SendError::Produce(error) if matches!(**error, ProduceError::Closed(_))));
    assert_eq!(sent.into_record(), Some(record()));
    let all = producer.produce_all([record(), record()]).await;
    assert_eq!(all.len(), 2);
    for outcome in all {
        assert_eq!(outcome.expect_err("closed").into_record(), Some(record()));
    }
    assert!(producer.flush().await.is_ok());
    assert_eq!(producer.statistics().acquired, 0);
}

async fn s10_a_task_that_waits_while_it_closes_gets_the_record_back(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let first = accepted(&producer, numbered(0));
    let mut waiting: Vec<_> = (1..4).map(|n| Observed::new(producer.produce(numbered(n)))).collect();
    assert!(waiting.iter_mut().all(Observed::is_pending));
    let mut close = Observed::new(producer.close(Duration::from_secs(3600)));
    assert!(close.is_pending());
    assert!(waiting.iter().all(|waiter| waiter.wakes() > 0));
    for (n, waiter) in waiting.into_iter().enumerate() {
        match waiter.ready() {
            Err(ProduceError::Closed(back)) => assert_eq!(back, numbered(n + 1)),
            other => panic!("{other:?}"),
        }
    }
    script.serve(&host);
    first.await.expect("accepted before the close");
    assert!(close.into_future().await.is_complete());
}
