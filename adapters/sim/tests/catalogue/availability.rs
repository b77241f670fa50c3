//! S1, S16, S18: a leader that does not answer has its share of the pool, and gets more when it answers again.

use std::time::Duration;

use aioproducer_driver::error::ProduceError;
use aioproducer_driver::{AioProducer, Builder};
use aioproducer_sim::{Case, Plan, check};

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{MS, SECOND, TRIP, record};

const AVAILABILITY: Duration = Duration::from_millis(200);

/// Partition 0 is led by broker 1, partition 1 by broker 2.
fn two_leaders() -> Plan {
    Plan::calm().brokers(2).topic("t", 2).seeds(0..10)
}

fn start(case: &Case) -> Builder<Variant> {
    let variant = Variant::new(case.cluster().backend().record_bytes(1000)).availability(AVAILABILITY);
    AioProducer::builder(variant).delivery_timeout(SECOND * 60)
}

/// Sends so many records to a partition, one after the other; returns the longest time of one.
async fn steady(case: Case, producer: AioProducer, partition: i32, count: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for n in 0..count {
        let begin = case.sim().elapsed();
        producer.send(record(n).partition(partition)).await.unwrap();
        longest = longest.max(case.sim().elapsed() - begin);
        case.sim().sleep(MS).await;
    }
    longest
}

#[test]
fn s01_a_silent_leader_leaves_room_to_the_others() {
    check(two_leaders(), |case| async move {
        let producer = start(&case).slots(64).start(case.sim().clone()).unwrap();
        for partition in [0, 1] {
            producer.send(record(0).partition(partition)).await.unwrap();
        }
        let leader = case.cluster().leader_of("t", 0).broker().unwrap();
        case.cluster().broker(leader).pause(SECOND * 20);
        let silent: Vec<_> = (0..200)
            .map(|n| {
                let producer = producer.clone();
                case.spawn(async move { producer.send(record(n).partition(0)).await.unwrap() })
            })
            .collect();
        case.sim().sleep(SECOND).await;
        let refused = producer.try_produce(record(0).partition(0));
        case.always(matches!(refused, Err(ProduceError::PartitionFull { .. })), "it has its share");
        let longest = steady(case.clone(), producer.clone(), 1, 300).await;
        case.always(longest <= 3 * TRIP, "the other partition does not wait");
        for record in silent {
            record.await;
        }
        case.always(case.sim().elapsed() <= SECOND * 22, "it gets its records when it is back");
    });
}

#[test]
fn s16_a_share_is_given_back() {
    check(two_leaders().seeds(0..2), |case| async move {
        let producer = start(&case).slots(64).pool_bytes(4 << 10).start(case.sim().clone()).unwrap();
        for n in 0..1500 {
            let mut accepted = Vec::new();
            for partition in [0, 1, 0, 1] {
                // A lane that has nothing may always have one, so the second is what counts.
                match producer.try_produce(record(format!("{n:0100}")).partition(partition)) {
                    Ok(delivery) => accepted.push(delivery),
                    Err(_) => case.always(false, "a record that has ended takes no share"),
                }
                // The client rests, so that the next record is not left to it.
                case.sim().sleep(MS / 4).await;
            }
            for delivery in accepted {
                delivery.await.unwrap();
            }
        }
    });
}

#[test]
fn s16_a_leader_that_answers_is_not_passed_over() {
    check(two_leaders(), |case| async move {
        let producer = start(&case).slots(400).start(case.sim().clone()).unwrap();
        producer.send(record(0).partition(1)).await.unwrap();
        let held = case.cluster().hold("t");
        for n in 0..300 {
            drop(producer.try_produce(record(n).partition(0)).unwrap());
        }
        // There are always records without an answer, and always answers.
        for n in 300..400 {
            held.next().await.deliver();
            case.sim().sleep(MS * 5).await;
            let next = producer.try_produce(record(n).partition(0));
            case.always(next.is_ok(), "a partition that answers has its share");
        }
        case.always(case.sim().elapsed() > AVAILABILITY * 2, "for longer than the timeout");
        drop(held);
        producer.flush().await.unwrap();
    });
}

#[test]
fn s18_a_silent_leader_that_answers_again_has_its_records_in_order() {
    check(two_leaders().seeds(0..20), |case| async move {
        let book = Book::new(&case);
        let producer = book.watch(start(&case).slots(40).start(case.sim().clone()).unwrap());
        let leader = case.cluster().leader_of("t", 0).broker().unwrap();
        let tasks = [To::Partition(0), To::Partition(1), To::Key("a"), To::Key("b")]
            .map(|to| case.spawn(book.clone().load(producer.clone(), "one".to_owned(), to, 60)));
        for _ in 0..3 {
            case.cluster().broker(leader).pause(MS * case.sim().random(900) as u32);
            case.sim().sleep(SECOND).await;
        }
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}
