//! Waiting for room: who is woken by what, and for how long a record waits.

use std::time::Duration;

use aioproducer_driver::{
    AioProducer, Delivery, FailureKind, Overflow, ProduceError, Record, SendError, Status, TransactionError,
};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, accepted_in, numbered};
use aioproducer_tests::scripted::{Script, begun, failure};

promises! {
    s01_a_free_slot_in_the_only_lane_wakes_who_waits,
    s01_a_free_slot_wakes_who_waits_while_all_lanes_are_in_use,
    s01_a_free_slot_wakes_who_waits_beside_an_overdue_record_of_the_lane,
    s01_who_waits_for_another_lane_is_woken_by_a_free_lane,
    s17_a_record_that_waits_for_room_fails_at_its_own_time,
    s17_a_record_of_a_transaction_that_waits_for_room_fails_at_its_own_time,
    s17_a_record_that_waits_for_a_callback_or_a_report_fails_at_its_own_time,
    s17_who_gives_up_waiting_lets_the_next_one_in,
    s17_the_shorter_of_policy_and_timeout_ends_the_wait,
    s25_a_record_that_came_back_at_its_own_time_is_not_given_back_again,
    s39_a_record_that_came_back_at_its_own_time_fails_its_transaction_once,
}

/// Soon enough for a test, and far less than the watchdog's time.
const SOON: Duration = Duration::from_millis(30);

fn lane(partition: i32, number: usize) -> Record<'static> {
    numbered(number).partition(partition)
}

/// A pool that is full with two records that nobody delivers.
fn full(host: &Host, script: &Script) -> (AioProducer, Vec<Delivery>) {
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let held = (0..2).map(|number| accepted(&producer, numbered(number))).collect();
    (producer, held)
}

async fn s01_a_free_slot_in_the_only_lane_wakes_who_waits(host: Host) {
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

async fn s01_a_free_slot_wakes_who_waits_while_all_lanes_are_in_use(host: Host) {
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

async fn s01_a_free_slot_wakes_who_waits_beside_an_overdue_record_of_the_lane(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2).lanes(1).batch_records(1));
    // The backend keeps the first one, whose outcome is told at its own time.
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    let _kept = script.accept().await;
    assert_eq!(hasty.await.expect_err("nobody delivers it").status(), Status::PossiblyPersisted);
    let held = accepted(&producer, numbered(1));
    let mut waiting = Observed::new(producer.produce(numbered(2)));
    assert!(waiting.is_pending());
    script.deliver(&script.accept().await);
    assert!(held.await.is_ok());
    assert!(waiting.wakes() > 0 && waiting.ready().is_ok());
}

async fn s01_who_waits_for_another_lane_is_woken_by_a_free_lane(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(8).lanes(2));
    let held: Vec<_> = (0..2).map(|number| accepted(&producer, lane(number as i32, number))).collect();
    let mut other = Observed::new(producer.produce(lane(2, 2)));
    let mut behind = Observed::new(producer.produce(lane(0, 3)));
    assert!(other.is_pending() && behind.is_pending(), "nobody passes it by");
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
    // The first callback never comes to its end, so those behind it take up all places.
    producer.produce_with_async(numbered(0), |_| std::future::pending()).await.expect("accepted");
    script.deliver(&script.accept().await);
    let error = loop {
        while producer.try_produce_with(numbered(1), |_| ()).is_ok() {
            script.deliver(&script.accept().await);
        }
        // It is accepted all the same if some of them began to run only now.
        if let Err(error) = producer.produce_with(numbered(9).timeout(SOON), |_| ()).await {
            break error;
        }
    };
    assert!(matches!(error, ProduceError::TimedOut(_)), "{error}");
}

async fn s17_who_gives_up_waiting_lets_the_next_one_in(host: Host) {
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
