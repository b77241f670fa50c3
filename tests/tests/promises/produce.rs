//! S1–S5, S7, S10: getting records accepted, and their outcomes.

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, ProduceError, Record, SendError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, failure, texts};
use aioproducer_tests::{broker, promises};
use std::time::Duration;

promises! {
    s01_produce_waits_only_while_the_pool_is_full_first_come_first_served,
    s01_a_large_record_is_not_starved_by_small_ones,
    s01_records_for_a_lane_that_has_no_room_wait_without_spinning,
    s01_waiters_behind_one_that_is_not_polled_do_not_spin,
    s02_try_produce_never_waits_and_hands_the_record_back,
    s02_try_produce_does_not_overtake_who_waits,
    s03_an_outcome_tells_where_the_record_is,
    s03_a_failure_gives_the_record_back_and_says_whether_it_is_in_the_log,
    s03_a_report_agrees_with_the_log,
    s04_a_delivery_stays_pending_until_its_own_report,
    s05_a_dropped_delivery_does_not_cancel_the_record,
    s05_a_dropped_produce_was_never_sent_and_the_next_moves_up,
    s05_a_produce_dropped_after_its_wake_passes_the_room_on,
    s07_send_does_both_in_one_call,
    s07_produce_all_gives_each_outcome_in_order,
    s07_produce_all_reaches_the_log_in_order,
    s07_produce_all_dropped_early_lets_the_accepted_go_their_way,
    s10_a_closed_producer_refuses_and_hands_back,
    s10_who_waits_while_it_closes_gets_the_record_back,
}

fn numbered(number: usize) -> Record<'static> {
    Record::to("t").payload(number.to_string())
}

fn accepted(producer: &AioProducer, record: Record<'static>) -> Delivery {
    at_once(producer.produce(record)).expect("accepted")
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
    // Polling out of turn gains nothing.
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

async fn s02_try_produce_does_not_overtake_who_waits(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let held = accepted(&producer, numbered(0));
    let mut waiting = Observed::new(producer.produce(numbered(1)));
    assert!(waiting.is_pending());
    let taken = script.accept().await;
    script.deliver(&taken);
    held.await.expect("delivered");
    // There is room now, and it is promised.
    assert!(matches!(producer.try_produce(numbered(2)), Err(ProduceError::Full(_))));
    let second = waiting.ready().expect("room");
    script.serve(&host);
    second.await.expect("delivered");
    assert_eq!(texts(&script.log()), ["1"]);
}

async fn s03_an_outcome_tells_where_the_record_is(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    script.serve(&host);
    for offset in 0..3 {
        let delivery = producer.produce(Record::to("where").partition(4).payload("x")).await.expect("accepted");
        let report = delivery.await.expect("delivered");
        assert_eq!((report.topic(), report.partition(), report.offset()), ("where", 4, offset));
        assert_eq!(report.timestamp_millis(), Some(1_000 + offset));
    }
}

async fn s03_a_failure_gives_the_record_back_and_says_whether_it_is_in_the_log(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let statuses = [Status::NotPersisted, Status::PossiblyPersisted, Status::Persisted];
    let kinds = [FailureKind::UnknownPartition, FailureKind::Broker, FailureKind::TimedOut];
    for (status, kind) in statuses.into_iter().zip(kinds) {
        let record = Record::to("t").key("k").payload("p").partition(2).timestamp_millis(9).header("a", "1");
        let record = record.null_header("b").header("a", "");
        let delivery = producer.produce(record.clone()).await.expect("accepted");
        let taken = script.accept().await;
        script.fail(&taken[0], failure(kind, status));
        let error = delivery.await.expect_err("failed");
        assert_eq!((error.kind(), error.status(), error.code()), (kind, status, Some((-7).into())));
        let text = error.to_string();
        assert!(text.contains("the script says so") && text.contains("topic t"), "{text}");
        assert_eq!(error.record(), Some(&record));
        assert_eq!(error.into_record(), Some(record));
        assert!(producer.is_empty());
    }
}

async fn s03_a_report_agrees_with_the_log(host: Host) {
    let broker = broker::start_with_topic("reports", 4);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let mut expected = Vec::new();
    for number in 0..50_i64 {
        let record = Record::to("reports").key(format!("key-{number}")).payload(number.to_string());
        let report = producer.send(record.timestamp_millis(1_000_000 + number)).await.expect("delivered");
        assert_eq!(report.topic(), "reports");
        // The embedded broker reports a log-append time of its own and stores the record's.
        assert!(report.timestamp_millis().is_some());
        expected.push((report.partition(), report.offset(), Some(1_000_000 + number), number.to_string()));
    }
    expected.sort();
    let log = broker::read_back(&broker, "reports", 4);
    let found: Vec<_> = log.iter().map(|l| (l.partition, l.offset, l.timestamp, l.text().to_owned())).collect();
    assert_eq!(found, expected);
}

async fn s04_a_delivery_stays_pending_until_its_own_report(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut deliveries: Vec<_> = (0..3).map(|n| Observed::new(accepted(&producer, numbered(n)))).collect();
    let still = |deliveries: &mut [Observed<Delivery>]| deliveries.iter_mut().all(Observed::is_pending);
    assert!(still(&mut deliveries), "in the buffer");
    let hand = script.next().await.expect("a batch");
    assert!(still(&mut deliveries), "in a worker's hands");
    let taken = hand.accept();
    assert!(still(&mut deliveries), "handed off");
    script.deliver([&taken[1]]);
    let wakes: Vec<_> = deliveries.iter().map(Observed::wakes).collect();
    assert_eq!(wakes, [0, 1, 0]);
    assert_eq!(deliveries.remove(1).ready().expect("delivered").offset(), 0);
    assert!(still(&mut deliveries), "a neighbour's report is not theirs");
    script.deliver([&taken[2], &taken[0]]);
    let offsets: Vec<_> = deliveries.into_iter().map(|d| d.ready().expect("delivered").offset()).collect();
    assert_eq!(offsets, [2, 1]);
}

async fn s05_a_dropped_delivery_does_not_cancel_the_record(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(3));
    drop(accepted(&producer, numbered(0)));
    let mut polled = Observed::new(accepted(&producer, numbered(1)));
    assert!(polled.is_pending());
    drop(polled);
    let after_hand_off = accepted(&producer, numbered(2));
    let taken = script.accept().await;
    drop(after_hand_off);
    assert_eq!(texts(&taken), ["0", "1", "2"]);
    assert_eq!(producer.statistics().in_use, 3);
    script.deliver(&taken[..2]);
    script.fail(&taken[2], failure(FailureKind::Broker, Status::NotPersisted));
    assert_eq!(producer.statistics().in_use, 0, "slots return by themselves");
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
    assert_eq!(sent.ready().expect("delivered").offset(), 0);

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

async fn s07_produce_all_gives_each_outcome_in_order(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(16));
    let worker = {
        let script = script.clone();
        host.spawn(async move {
            while let Some(hand) = script.next().await {
                // Reported backwards, and every seventh one failed.
                for record in hand.accept().iter().rev() {
                    if record.text().parse::<usize>().unwrap() % 7 == 0 {
                        script.fail(record, failure(FailureKind::Broker, Status::NotPersisted));
                    } else {
                        script.deliver([record]);
                    }
                }
            }
        })
    };
    let records = (0..500).map(|n| {
        let topic = if n % 50 == 3 { String::from("no topic") } else { format!("t{}", n % 3) };
        Record::to(topic).payload(n.to_string())
    });
    let outcomes = producer.produce_all(records).await;
    assert_eq!(outcomes.len(), 500);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(report) => {
                assert!(n % 50 != 3 && n % 7 != 0, "{n} was delivered");
                assert_eq!(report.topic(), format!("t{}", n % 3));
            }
            Err(error) => {
                assert_eq!(error.kind().is_none(), n % 50 == 3, "{n}: {error}");
                assert!(n % 50 == 3 || n % 7 == 0, "{n} failed");
                let record = error.into_record().expect("the record");
                assert_eq!(record.get_payload(), Some(n.to_string().as_bytes()));
            }
        }
    }
    assert_eq!(producer.statistics().high_water, 16);
    assert!(producer.produce_all(Vec::<Record>::new()).await.is_empty());
    producer.close(Duration::MAX).await;
    worker.join().await;
}

async fn s07_produce_all_reaches_the_log_in_order(host: Host) {
    let broker = broker::start_with_topic("all", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(100));
    let outcomes = producer.produce_all((0..1000).map(|n| Record::to("all").payload(n.to_string()))).await;
    let offsets: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("delivered").offset()).collect();
    assert_eq!(offsets, (0..1000).collect::<Vec<i64>>());
    let log = broker::read_back(&broker, "all", 1);
    let found: Vec<_> = log.iter().map(|logged| logged.text().to_owned()).collect();
    assert_eq!(found, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn s07_produce_all_dropped_early_lets_the_accepted_go_their_way(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4));
    let mut all = Observed::new(producer.produce_all((0..10).map(|n| Record::to("t").payload(n.to_string()))));
    assert!(all.is_pending());
    let mut bystander = Observed::new(producer.produce(numbered(99)));
    assert!(bystander.is_pending());
    drop(all);
    script.serve(&host);
    bystander.into_future().await.expect("accepted").await.expect("delivered");
    assert_eq!(texts(&script.log()), ["0", "1", "2", "3", "99"]);
    assert_eq!((producer.statistics().in_use, producer.statistics().waiters), (0, 0));
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

async fn s10_who_waits_while_it_closes_gets_the_record_back(host: Host) {
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

/// `produce_all` does not tie the life of the records to that of the producer. It need only compile: an iterator of records
/// that borrow nothing, from a producer that does not live forever.
#[test]
fn s07_produce_all_takes_iterators_of_owned_records() {
    fn _compiles(producer: &AioProducer, records: std::sync::mpsc::Receiver<Record<'static>>) {
        drop(producer.produce_all(records));
    }
}
