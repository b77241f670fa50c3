//! S1, S5, S21: a small pool that is full. Tasks wait for room, first come, first served.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aioproducer_driver::error::{FailureKind, ProduceError, Status};
use aioproducer_driver::{AioProducer, Builder};
use aioproducer_sim::{Case, SimBackend, check};

use crate::book::{Book, To};
use crate::{MS, SECOND, builder, calm, record, swarm, within};

/// Who came, and who was let in, in order.
#[derive(Default)]
struct Line {
    came: Vec<u32>,
    entered: Vec<u32>,
}

/// A task that comes after a while, waits for room, and may give up.
async fn visitor(case: Case, book: Book, producer: AioProducer, line: Arc<Mutex<Line>>, task: u32, bytes: u64) {
    case.sim().sleep(MS * case.sim().random(30) as u32).await;
    let limit = if case.sim().random(4) == 0 { MS * case.sim().random(40) as u32 } else { SECOND * 100 };
    let (number, record) = book.record("one", To::Partition(0));
    let record = record.header("filling", vec![b'x'; case.sim().random(bytes) as usize]);
    line.lock().unwrap().came.push(task);
    match within(&case, limit, producer.produce(record)).await {
        Some(entered) => {
            line.lock().unwrap().entered.push(task);
            book.hear(number, entered.unwrap()).await;
        }
        None => {
            line.lock().unwrap().came.retain(|other| *other != task);
            book.unsent(number);
        }
    }
}

async fn visitors(case: Case, producer: AioProducer, bytes: u64) {
    let (book, line) = (Book::new(&case), Arc::<Mutex<Line>>::default());
    let producer = book.watch(producer);
    let tasks: Vec<_> = (0..24)
        .map(|task| case.spawn(visitor(case.clone(), book.clone(), producer.clone(), Arc::clone(&line), task, bytes)))
        .collect();
    for task in tasks {
        task.await;
    }
    {
        let Line { came, entered } = &*line.lock().unwrap();
        case.always(came == entered, "first come, first served");
    }
    book.audit().await;
}

/// A pool of 20,000 bytes.
fn of_bytes(case: &Case) -> Builder<SimBackend> {
    AioProducer::builder(case.cluster().backend().record_bytes(19_900)).pool_bytes(20_000)
}

#[test]
fn s01_s05_tasks_that_wait_for_a_slot_enter_in_the_order_in_which_they_came() {
    check(swarm().seeds(0..60), |case| async move {
        let producer = builder(&case).slots(2).start(case.sim().clone()).unwrap();
        visitors(case, producer, 1).await;
    });
}

#[test]
fn s01_a_large_record_is_not_passed_by() {
    check(swarm().seeds(0..60), |case| async move {
        let producer = of_bytes(&case).start(case.sim().clone()).unwrap();
        visitors(case, producer, 8000).await;
    });
}

#[test]
fn s01_the_pool_serves_waiting_tasks_as_soon_as_there_is_room() {
    check(calm(), |case| async move {
        let producer = builder(&case).slots(1).start(case.sim().clone()).unwrap();
        for n in 0..20 {
            drop(producer.produce(record(n)).await.unwrap());
            case.always(case.sim().elapsed() == n * crate::TRIP, "the slot comes back with the outcome");
        }
        producer.flush().await.unwrap();
    });
}

#[test]
fn s01_a_record_above_the_pool_is_refused() {
    check(calm().seeds(0..2), |case| async move {
        let producer = of_bytes(&case).start(case.sim().clone()).unwrap();
        let refused = producer.produce(record(1).header("filling", vec![b'x'; 19_000])).await.unwrap_err();
        case.always(matches!(refused, ProduceError::AbovePool { .. }), "it never fits");
        case.always(refused.into_record().get_payload() == Some(b"1"), "it comes back");
    });
}

#[test]
fn s02_try_produce_does_not_pass_by_waiting_tasks() {
    check(calm(), |case| async move {
        let producer = builder(&case).slots(1).start(case.sim().clone()).unwrap();
        let held = case.cluster().hold("t");
        let first = producer.produce(record(1)).await.unwrap();
        let waits = case.spawn({
            let producer = producer.clone();
            async move { producer.produce(record(2)).await.unwrap().await.unwrap() }
        });
        case.sim().sleep(MS).await;
        held.next().await.deliver();
        first.await.unwrap();
        let passed = producer.try_produce(record(3));
        case.always(passed.is_err() || producer.statistics().waiters == 0, "it does not pass by");
        drop(passed);
        drop(held);
        waits.await;
        producer.flush().await.unwrap();
    });
}

#[test]
fn s21_a_late_record_has_its_slot_until_the_client_lets_go() {
    check(calm(), |case| async move {
        let producer = builder(&case).slots(3).delivery_timeout(SECOND).start(case.sim().clone()).unwrap();
        let held = case.cluster().hold("t");
        let mut deliveries = Vec::new();
        for n in 0..3 {
            deliveries.push(producer.produce(record(n)).await.unwrap());
        }
        for delivery in deliveries {
            let error = delivery.await.unwrap_err();
            let found = (error.kind(), error.status());
            case.always(found == (FailureKind::TimedOut, Status::PossiblyPersisted), "the client has it");
        }
        case.always(matches!(producer.try_produce(record(3)), Err(ProduceError::Full(_))), "the slots are not free");
        drop(held);
        case.sim().sleep(MS * 10).await;
        case.always(producer.statistics().in_use == 0, "now they are");
        case.always(producer.send(record(4)).await.is_ok(), "and are used again");
        case.always(producer.statistics().stale_reports == 0, "each report was expected");
    });
}

#[test]
fn s21_slots_are_used_again_and_never_more_than_there_are() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let timeout = Duration::from_millis(50 + case.sim().random(500));
        let producer = builder(&case).slots(5).delivery_timeout(timeout).start(case.sim().clone()).unwrap();
        let producer = book.watch(producer);
        let tasks: Vec<_> = [To::Key("a"), To::Key("b"), To::Anywhere]
            .map(|to| case.spawn(book.clone().load(producer.clone(), "one".to_owned(), to, 25)))
            .into_iter()
            .collect();
        for _ in 0..50 {
            case.sim().sleep(MS * case.sim().random(20) as u32).await;
            case.always(producer.statistics().in_use <= 5, "the pool does not grow");
        }
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}
