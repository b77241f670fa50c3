//! S52: scripted faults, held records, and what is wrong with either: each is a clear message with its place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aioproducer_driver::error::{ErrorCode, FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Produce, Sim, SimCluster};

const MS: Duration = Duration::from_millis(1);

/// The message of a panic.
fn panic_of<T>(code: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(code)).err().expect("it panics");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
    }
}

#[test]
fn s52_a_fault_is_hit_as_often_as_it_says_and_by_what_it_is_for() {
    Sim::run(1, |sim| async move {
        let kafka = SimCluster::new().with_topic("a", 2).with_topic("b", 2);
        let fault = kafka.on(Produce.to("a").partition(1)).times(2).answer(ErrorCode::NotLeaderForPartition);
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        for (topic, partition) in [("a", 0), ("b", 0), ("b", 1)] {
            producer.send(Record::to(topic).partition(partition)).await.unwrap();
        }
        assert_eq!((fault.hits(), sim.elapsed()), (0, 6 * MS));
        producer.send(Record::to("a").partition(1)).await.unwrap();
        assert_eq!((fault.hits(), sim.elapsed()), (2, 6 * MS + 2 * (102 * MS) + 2 * MS));
        producer.send(Record::to("a").partition(1)).await.unwrap();
        assert_eq!(fault.hits(), 2);
    });
}

#[test]
fn s52_of_several_faults_the_first_that_is_not_used_up_counts() {
    Sim::run(2, |sim| async move {
        let kafka = SimCluster::new().with_topic("a", 1);
        let first = kafka.on(Produce).once().lose_request();
        let always = kafka.on(Produce.to("a")).delay(10 * MS);
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        producer.send(Record::to("a")).await.unwrap();
        assert_eq!((first.hits(), always.hits(), sim.elapsed()), (1, 1, 2 * MS + 100 * MS + 12 * MS));
    });
}

#[test]
fn s52_a_fault_that_was_not_hit_fails_the_test_with_its_place() {
    let line = line!() + 3;
    let message = panic_of(|| {
        let kafka = SimCluster::new().with_topic("a", 3);
        kafka.on(Produce.to("a").partition(2)).times(3).answer(ErrorCode::RequestTimedOut);
        let other = kafka.clone();
        drop(kafka);
        assert!(format!("{other:?}").contains("\"a\""), "a clone is left");
    });
    let place = format!("tests/faults.rs:{line}:");
    assert!(message.contains(&place), "{message} has no {place}");
    assert!(message.contains("a/2") && message.contains("hit 0 of 3 times"), "{message}");
}

#[test]
fn s52_a_fault_that_was_hit_too_seldom_is_found_by_verify() {
    Sim::run(3, |sim| async move {
        let kafka = SimCluster::new().with_topic("a", 1);
        let fault = kafka.on(Produce).times(2).lose_request();
        let producer = AioProducer::builder(kafka.backend().retries(0)).start(sim.clone()).unwrap();
        let _ = producer.send(Record::to("a")).await;
        let message = panic_of(|| kafka.verify());
        assert!(message.contains("hit 1 of 2 times"), "{message}");
        let _ = producer.send(Record::to("a")).await;
        kafka.verify();
        assert_eq!(fault.hits(), 2);
    });
}

#[test]
fn s52_a_failure_of_the_test_is_not_hidden_by_an_unhit_fault() {
    let message = panic_of(|| {
        let kafka = SimCluster::new();
        kafka.on(Produce).once().lose_request();
        panic!("the test's own");
    });
    assert_eq!(message, "the test's own");
}

#[test]
fn s52_what_does_not_exist_is_refused_with_what_does() {
    let kafka = SimCluster::new().with_topic("orders", 3);
    for (message, parts) in [
        (panic_of(|| kafka.on(Produce.to("order"))), ["no topic `order`", "`orders`"]),
        (panic_of(|| kafka.on(Produce.to("orders").partition(3))), ["no partition 3", "it has 3"]),
        (panic_of(|| kafka.on(Produce.to("orders").partition(-1))), ["no partition -1", "it has 3"]),
        (panic_of(|| kafka.on(Produce).times(0)), ["0 requests", "leave it out"]),
        (panic_of(|| kafka.hold("order")), ["no topic `order`", "with_topic"]),
        (panic_of(|| kafka.topic("order")), ["no topic `order`", "with_topic"]),
        (panic_of(|| kafka.broker(2)), ["no broker 2", "it has 1"]),
        (panic_of(|| kafka.broker(0)), ["no broker 0", "with_brokers"]),
        (panic_of(|| kafka.leader_of("orders", 0).move_to(2)), ["no broker 2", "it has 1"]),
        (panic_of(|| kafka.leader_of("orders", 7)), ["no partition 7", "it has 3"]),
        (panic_of(|| kafka.grow("orders", 2)), ["has 3 partitions", "never removes"]),
        (panic_of(|| kafka.clone().with_topic("orders", 3)), ["`orders` already", "grow"]),
        (panic_of(|| kafka.clone().with_topic("empty", 0)), ["`empty`", "at least 1"]),
        (panic_of(|| kafka.clone().with_brokers(3)), ["before with_topic", "replicas"]),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{message} has not {parts:?}");
    }
    let stopped = panic_of(|| {
        let kafka = SimCluster::new().with_brokers(2).with_topic("t", 1);
        kafka.broker(2).stop();
        kafka.leader_of("t", 0).move_to(2);
    });
    assert!(stopped.contains("broker 2 is stopped"), "{stopped}");
}

#[test]
fn s52_a_test_decides_how_each_held_record_ends() {
    Sim::run(4, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = AioProducer::builder(kafka.backend().idempotence(false)).start(sim.clone()).unwrap();
        let held = kafka.hold("t");
        let mut deliveries = Vec::new();
        for n in 0..6 {
            deliveries.push(producer.produce(Record::to("t").payload(n.to_string())).await.unwrap());
        }
        let records = [(); 6];
        let mut taken = Vec::new();
        for () in records {
            taken.push(held.next().await);
        }
        let texts: Vec<_> = taken.iter().filter_map(|held| held.record().payload_str()).collect();
        assert_eq!(texts, ["0", "1", "2", "3", "4", "5"]);
        assert_eq!((held.waiting(), kafka.topic("t").records().len()), (0, 0));
        let mut taken = taken.into_iter();
        let mut next = || taken.next().unwrap();
        next().deliver();
        next().refuse(FailureKind::NotAuthorized);
        next().lose_answer();
        next().lose_request();
        next().answer(ErrorCode::MsgSizeTooLarge);
        drop(next());
        let mut outcomes = Vec::new();
        for delivery in deliveries {
            let outcome = delivery.await;
            outcomes.push(outcome.map(|report| report.offset()).map_err(|error| (error.kind(), error.status())));
        }
        let refused = |kind| Err((kind, Status::NotPersisted));
        assert_eq!(outcomes[0], Ok(Some(0)));
        assert_eq!(outcomes[1], refused(FailureKind::NotAuthorized));
        assert_eq!(outcomes[2], Ok(Some(2)), "appended twice, as it is not idempotent");
        assert_eq!(outcomes[3], Ok(Some(3)));
        assert_eq!(outcomes[4], refused(FailureKind::TooLarge));
        assert_eq!(outcomes[5], Ok(Some(4)), "what is dropped is delivered");
    });
}

#[test]
fn s52_records_wait_behind_a_held_one_and_go_when_the_hold_ends() {
    Sim::run(5, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1).with_topic("other", 1);
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        let held = kafka.hold("t");
        let first = producer.produce(Record::to("t").payload("1")).await.unwrap();
        let second = producer.produce(Record::to("t").payload("2")).await.unwrap();
        producer.send(Record::to("other")).await.unwrap();
        let (one, two) = (held.next().await, held.next().await);
        two.deliver();
        sim.sleep(100 * MS).await;
        assert_eq!(kafka.topic("t").records().len(), 0, "a partition keeps its order");
        one.deliver();
        assert_eq!((first.await.unwrap().offset(), second.await.unwrap().offset()), (Some(0), Some(1)));
        let third = producer.produce(Record::to("t").payload("3")).await.unwrap();
        sim.sleep(MS).await;
        assert_eq!(held.waiting(), 1);
        drop(held);
        assert_eq!(third.await.unwrap().offset(), Some(2));
        producer.send(Record::to("t").payload("4")).await.unwrap();
    });
}

#[test]
fn s52_a_held_record_that_is_purged_is_gone() {
    Sim::run(6, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        let held = kafka.hold("t");
        let delivery = producer.produce(Record::to("t")).await.unwrap();
        sim.sleep(MS).await;
        assert_eq!(held.waiting(), 1);
        assert!(!producer.close(MS).await.is_complete());
        assert_eq!(delivery.await.unwrap_err().status(), Status::NotPersisted);
        assert_eq!(held.waiting(), 0);
    });
}

#[test]
fn s52_two_tasks_wait_for_held_records_and_each_gets_one() {
    Sim::run(7, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        let held = std::sync::Arc::new(kafka.hold("t"));
        let tasks = [(); 2].map(|()| {
            let held = held.clone();
            sim.spawn(async move { held.next().await.deliver() })
        });
        sim.sleep(MS).await;
        for n in 0..2 {
            drop(producer.produce(Record::to("t").payload(n.to_string())).await.unwrap());
            sim.sleep(MS).await;
        }
        for task in tasks {
            task.await;
        }
        producer.flush().await.unwrap();
        assert_eq!(kafka.topic("t").records().len(), 2);
    });
}
