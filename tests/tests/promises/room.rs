//! Waiting for room: which task is woken by what, and for how long a record waits.

use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status, TransactionError};
use aioproducer_driver::{AioProducer, Delivery, Overflow, ProduceError, Record, SendError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, accepted_in, numbered};
use aioproducer_tests::scripted::{Script, begun, failure, texts};

promises! {
    s01_a_free_slot_in_the_only_lane_wakes_a_waiting_task,
    s01_a_free_slot_wakes_a_waiting_task_while_all_lanes_are_in_use,
    s01_a_free_slot_wakes_a_waiting_task_beside_an_overdue_record_of_the_lane,
    s01_a_task_that_waits_for_another_lane_is_woken_by_a_free_lane,
    s17_a_record_that_waits_for_room_fails_at_its_own_time,
    s17_a_record_of_a_transaction_that_waits_for_room_fails_at_its_own_time,
    s17_a_record_that_waits_for_a_callback_or_a_report_fails_at_its_own_time,
    s17_a_task_that_gives_up_lets_the_next_one_in,
    s17_the_shorter_of_policy_and_timeout_ends_the_wait,
    s25_a_record_that_came_back_at_its_own_time_is_not_given_back_again,
    s39_a_record_that_came_back_at_its_own_time_fails_its_transaction_once,
    s01_produce_waits_only_while_the_pool_is_full_first_come_first_served,
    s01_a_large_record_is_not_starved_by_small_ones,
    s01_records_for_a_lane_that_has_no_room_wait_without_spinning,
    s01_waiters_behind_one_that_is_not_polled_do_not_spin,
    s01_a_limited_wait_hands_the_record_back,
}

/// Short for a test, and far below the watchdog's limit.
const SOON: Duration = Duration::from_millis(30);

fn lane(partition: i32, number: usize) -> Record<'static> {
    numbered(number).partition(partition)
}

/// A pool that two records fill, which are not delivered.
fn full(host: &Host, script: &Script) -> (AioProducer, Vec<Delivery>) {
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let held = (0..2).map(|number| accepted(&producer, numbered(number))).collect();
    (producer, held)
}

async fn s01_a_free_slot_in_the_only_lane_wakes_a_waiting_task(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4).lanes(1));
    let _held: Vec<_> = (0..4).map(|number| accepted(&producer, numbered(number))).collect();
    let mut waiting: Vec<_> = (4..7).map(|number| Observed::new(producer.produce(numbered(number)))).collect();
    assert!(waiting.iter_mut().all(Observed::is_pending));
    let taken = script.accept().await;
    for (at, mut next) in waiting.into_iter().enumerate() {
        assert_eq!(next.wakes(), 0);
        script.deliver(&taken[at..=at]);
        assert_eq!(next.wakes(), 1);
        assert!(!next.is_pending());
    }
}

async fn s01_a_free_slot_wakes_a_waiting_task_while_all_lanes_are_in_use(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4).lanes(2));
    let _held: Vec<_> = (0..4).map(|number| accepted(&producer, lane(number as i32 % 2, number))).collect();
    let mut first = Observed::new(producer.produce(lane(0, 4)));
    let mut second = Observed::new(producer.produce(lane(1, 5)));
    assert!(first.is_pending() && second.is_pending());
    let taken = script.accept().await;
    script.deliver(&taken[..1]);
    assert_eq!((first.wakes(), second.wakes()), (1, 0), "one slot is one record's");
    assert!(first.ready().is_ok());
    script.deliver(&taken[1..]);
    assert!(second.wakes() > 0 && second.ready().is_ok());
}

async fn s01_a_free_slot_wakes_a_waiting_task_beside_an_overdue_record_of_the_lane(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2).lanes(1).batch_records(1));
    // The backend keeps the first one, whose outcome comes at its own deadline.
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    let _kept = script.accept().await;
    assert_eq!(hasty.await.expect_err("it is not delivered").status(), Status::PossiblyPersisted);
    let held = accepted(&producer, numbered(1));
    let mut waiting = Observed::new(producer.produce(numbered(2)));
    assert!(waiting.is_pending());
    script.deliver(&script.accept().await);
    assert!(held.await.is_ok());
    assert!(waiting.wakes() > 0 && waiting.ready().is_ok());
}

async fn s01_a_task_that_waits_for_another_lane_is_woken_by_a_free_lane(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(8).lanes(2));
    let held: Vec<_> = (0..2).map(|number| accepted(&producer, lane(number as i32, number))).collect();
    let mut other = Observed::new(producer.produce(lane(2, 2)));
    let mut behind = Observed::new(producer.produce(lane(0, 3)));
    assert!(other.is_pending() && behind.is_pending(), "no record passes it");
    let (first, second) = (script.accept().await, script.accept().await);
    assert_eq!((other.wakes(), behind.wakes()), (0, 0));
    script.deliver(&first);
    assert_eq!((other.wakes(), behind.wakes()), (1, 0), "one lane is one record's");
    assert!(other.ready().is_ok());
    assert!(behind.is_pending(), "its lane was given away");
    script.deliver(&second);
    assert!(behind.wakes() > 0 && behind.ready().is_ok());
    drop(held);
}

async fn s17_a_record_that_waits_for_room_fails_at_its_own_time(host: Host) {
    let script = Script::new();
    let (producer, _held) = full(&host, &script);
    let hasty = || numbered(9).timeout(SOON);
    let error = producer.produce(hasty()).await.expect_err("no room");
    assert!(matches!(&error, ProduceError::TimedOut(record) if *record == hasty()), "{error}");
    assert!(error.to_string().contains("30ms"), "{error}");
    let error = producer.send(hasty()).await.expect_err("no room");
    assert_eq!(error.status(), Status::NotPersisted);
    assert!(matches!(&error, SendError::Produce(error) if matches!(**error, ProduceError::TimedOut(_))), "{error}");
    let outcomes = producer.produce_all([hasty(), hasty()]).await;
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(outcome.expect_err("no room").into_record(), Some(hasty()));
    }
    let error = producer.produce_with(hasty(), |_| panic!("it was not accepted")).await.expect_err("no room");
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
    let (reporter, _reports) = producer.reports(8);
    let error = reporter.produce(hasty(), ()).await.expect_err("no room");
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
    assert_eq!((producer.len(), producer.statistics().waiters), (2, 0));
}

async fn s17_a_record_of_a_transaction_that_waits_for_room_fails_at_its_own_time(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let transaction = begun(&script, &producer).await;
    let _held = accepted_in(&transaction, 0);
    let error = transaction.produce(numbered(1).timeout(SOON)).await.expect_err("no room");
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
    assert!(transaction.try_produce(numbered(2)).is_err(), "it is still full");
}

async fn s17_a_record_that_waits_for_a_callback_or_a_report_fails_at_its_own_time(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4));
    let (reporter, _reports) = producer.reports(1);
    reporter.produce(numbered(0), ()).await.expect("accepted");
    let error = reporter.produce(numbered(1).timeout(SOON), ()).await.expect_err("the stream is full");
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
    script.deliver(&script.accept().await);
    // The first callback never ends, so those behind it take all places.
    producer.produce_with_async(numbered(0), |_| std::future::pending()).await.expect("accepted");
    script.deliver(&script.accept().await);
    let error = loop {
        while producer.try_produce_with(numbered(1), |_| ()).is_ok() {
            script.deliver(&script.accept().await);
        }
        // It is still accepted if some of them began to run only now.
        if let Err(error) = producer.produce_with(numbered(9).timeout(SOON), |_| ()).await {
            break error;
        }
    };
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
}

async fn s17_a_task_that_gives_up_lets_the_next_one_in(host: Host) {
    let script = Script::with_record_bytes(1_000);
    let producer = host.start(AioProducer::builder(script.backend()).slots(4).pool_bytes(1_000).batch_bytes(1_000));
    let _held = accepted(&producer, Record::to("t").payload(vec![0; 900]));
    let large = producer.produce(Record::to("t").payload(vec![0; 500]).timeout(SOON));
    let mut large = Observed::new(large);
    let mut small = Observed::new(producer.produce(Record::to("t").payload(vec![0; 50])));
    assert!(large.is_pending() && small.is_pending(), "the small one does not pass the large one by");
    assert!(large.into_future().await.is_err());
    assert!(small.wakes() > 0 && small.ready().is_ok());
}

async fn s17_the_shorter_of_policy_and_timeout_ends_the_wait(host: Host) {
    let script = Script::new();
    let patient = Overflow::WaitFor(SOON);
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(patient));
    let _held = accepted(&producer, numbered(0));
    let error = producer.produce(numbered(1).timeout(SOON * 1_000)).await.expect_err("no room");
    assert!(matches!(error, ProduceError::Full(_)), "{error}");
    let error = producer.produce(numbered(1).timeout(SOON / 2)).await.expect_err("no room");
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
}

async fn s25_a_record_that_came_back_at_its_own_time_is_not_given_back_again(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    drop(script.accept().await);
    assert!(hasty.await.expect_err("the backend keeps it").into_record().is_some());
    let report = producer.close(Duration::ZERO).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(producer.statistics().in_use, 0);
}

async fn s39_a_record_that_came_back_at_its_own_time_fails_its_transaction_once(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let transaction = begun(&script, &producer).await;
    let hasty = at_once(transaction.produce(numbered(0).timeout(SOON))).expect("accepted");
    let taken = script.accept().await;
    assert_eq!(hasty.await.expect_err("the backend keeps it").kind(), FailureKind::TimedOut);
    script.fail(&taken[0], failure(FailureKind::Broker, Status::NotPersisted));
    let error = transaction.commit().await.expect_err("a record failed");
    assert!(matches!(error.error(), TransactionError::Undelivered { records: 1, .. }), "{error:?}");
}

async fn s01_produce_waits_only_while_the_pool_is_full_first_come_first_served(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let held = [accepted(&producer, numbered(0)), accepted(&producer, numbered(1))];
    let mut waiting: Vec<_> = (2..6).map(|n| Observed::new(producer.produce(numbered(n)))).collect();
    assert!(waiting.iter_mut().all(Observed::is_pending));
    assert_eq!(producer.statistics().waiters, 4);

    let first = script.accept().await;
    script.deliver(&first[..1]);
    let wakes: Vec<_> = waiting.iter().map(Observed::wakes).collect();
    assert!(wakes[0] > 0 && wakes[1..] == [0, 0, 0], "one slot returned: {wakes:?}");
    // Polling earlier than others gains nothing.
    assert!(waiting[1..].iter_mut().rev().all(Observed::is_pending));
    let third = waiting.remove(0).ready().expect("the first in line");
    assert!(waiting.iter_mut().all(Observed::is_pending));

    let served = script.serve(&host);
    script.deliver(&first[1..]);
    let mut deliveries = vec![third];
    for waiter in waiting {
        deliveries.push(waiter.into_future().await.expect("its turn"));
    }
    for delivery in held.into_iter().chain(deliveries) {
        delivery.await.expect("delivered");
    }
    assert_eq!(texts(&script.log()), ["2", "3", "4", "5"]);
    assert_eq!((producer.statistics().waiters, producer.statistics().high_water), (0, 2));
    producer.close(Duration::MAX).await;
    served.join().await;
}

async fn s01_a_large_record_is_not_starved_by_small_ones(host: Host) {
    let script = Script::with_record_bytes(100);
    let producer = host.start(AioProducer::builder(script.backend()).slots(50).pool_bytes(100));
    let sized = |bytes| Record::to("t").payload(vec![b'x'; bytes]);
    let held = accepted(&producer, sized(60));
    let mut large = Observed::new(producer.produce(sized(90)));
    assert!(large.is_pending());
    let mut small = Observed::new(producer.produce(sized(10)));
    assert!(small.is_pending(), "there are bytes for it, and it came later");
    assert!(matches!(producer.try_produce(sized(1)), Err(ProduceError::Full(_))));

    let taken = script.accept().await;
    script.deliver(&taken);
    held.await.expect("delivered");
    assert!(large.wakes() > 0);
    let large = large.ready().expect("room");
    let small = small.into_future().await.expect("room");
    assert_eq!(producer.statistics().bytes, 100);
    script.serve(&host);
    large.await.expect("delivered");
    small.await.expect("delivered");
}

async fn s01_records_for_a_lane_that_has_no_room_wait_without_spinning(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(8).lanes(1));
    let first = accepted(&producer, Record::to("one").payload("a"));
    let mut other = Observed::new(producer.produce(Record::to("two").payload("b")));
    for poll in 0..50 {
        assert!(other.is_pending());
        assert!(other.wakes() <= 2, "{} wake-ups after {poll} polls with nothing changed", other.wakes());
    }
    let before = other.wakes();
    let taken = script.accept().await;
    script.deliver(&taken);
    assert!(other.wakes() > before, "the lane is free: the waiter is woken");
    first.await.expect("delivered");
    let second = other.ready().expect("a lane is free");
    script.serve(&host);
    second.await.expect("delivered");
}

async fn s01_waiters_behind_one_that_is_not_polled_do_not_spin(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4));
    let _held: Vec<_> = (0..4).map(|n| accepted(&producer, numbered(n))).collect();
    let mut head = Observed::new(producer.produce(numbered(4)));
    let mut next = Observed::new(producer.produce(numbered(5)));
    assert!(head.is_pending() && next.is_pending());
    let taken = script.accept().await;
    script.deliver(&taken);
    // There is room for both. The first one's task is busy elsewhere.
    assert!(head.wakes() > 0);
    for poll in 0..50 {
        assert!(next.is_pending());
        assert!(next.wakes() <= 2, "{} wake-ups after {poll} polls with nothing changed", next.wakes());
    }
    let first = head.ready().expect("room");
    assert!(next.wakes() > 0, "its turn");
    let second = next.ready().expect("room");
    script.serve(&host);
    first.await.expect("delivered");
    second.await.expect("delivered");
}

async fn s01_a_limited_wait_hands_the_record_back(host: Host) {
    let script = Script::new();
    let wait = Overflow::WaitFor(Duration::from_millis(10));
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(wait));
    let held = accepted(&producer, numbered(0));
    let error = producer.produce(numbered(1)).await.expect_err("full for too long");
    assert!(matches!(&error, ProduceError::Full(_)));
    assert_eq!(error.into_record(), numbered(1));
    let error = producer.produce_with(numbered(2), |_| panic!("it was not accepted")).await.expect_err("full");
    assert_eq!(error.into_record(), numbered(2));
    let mut outcomes = producer.produce_all([numbered(3), numbered(4)]).await;
    assert!(outcomes.drain(..).all(|outcome| outcome.is_err_and(|error| error.kind().is_none())));
    assert_eq!(producer.statistics().waiters, 0);
    assert!(matches!(producer.try_produce(numbered(5)), Err(ProduceError::Full(_))));
    let mut waiting = Observed::new(producer.produce(numbered(6)));
    assert!(waiting.is_pending());
    assert!(held.retract().is_ok());
    assert!(waiting.ready().is_ok(), "there was room in time");
}
