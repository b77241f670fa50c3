//! S20: callbacks run once each, in order within a partition, and one does not stall the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aioproducer_sim::{Plan, check};

use crate::book::{Book, To};
use crate::{MS, SECOND, TRIP, builder, calm, record, swarm};

#[test]
fn s20_each_callback_is_called_once_and_in_order() {
    check(swarm().seeds(0..60), |case| async move {
        let book = Book::new(&case);
        let timeout = MS * (200 + case.sim().random(2000)) as u32;
        let builder = builder(&case).delivery_timeout(timeout).slots(12).callback_tasks(2);
        let producer = book.watch(builder.start(case.sim().clone()).unwrap());
        let last = Arc::<Mutex<BTreeMap<i32, i64>>>::default();
        let mut accepted = 0;
        let called = Arc::new(Mutex::new(0));
        for n in 0..40 {
            let (number, record) = book.record("one", To::Partition(n % 3));
            let (case2, noted, last, called) = (case.clone(), book.clone(), Arc::clone(&last), Arc::clone(&called));
            let produced = producer
                .produce_with(record, move |outcome| {
                    *called.lock().unwrap() += 1;
                    if let Ok(report) = &outcome {
                        let before = last.lock().unwrap().insert(report.partition(), report.offset().unwrap());
                        case2.always(before < report.offset(), "those of a partition are called in its order");
                    }
                    noted.ended(number, &outcome);
                })
                .await;
            match produced {
                Ok(()) => accepted += 1,
                Err(error) => book.returned(number, error.record()),
            }
            case.sim().sleep(MS * case.sim().random(8) as u32).await;
        }
        producer.flush().callbacks().await.unwrap();
        case.always(*called.lock().unwrap() == accepted, "a flush that counts callbacks waits for all of them");
        book.audit().await;
        case.always(*called.lock().unwrap() == accepted, "none is called again");
        case.always(producer.statistics().callbacks_waiting == 0, "none is left");
    });
}

#[test]
fn s20_a_callback_that_takes_long_does_not_stall_other_partitions() {
    check(Plan::calm().topic("t", 2).seeds(0..20), |case| async move {
        let producer = builder(&case).callback_tasks(2).start(case.sim().clone()).unwrap();
        let ended = Arc::<Mutex<Vec<(i32, std::time::Duration)>>>::default();
        for n in 0..6 {
            let (case2, ended) = (case.clone(), Arc::clone(&ended));
            let record = record(n).partition(n % 2);
            let callback = move |report: Result<aioproducer_driver::DeliveryReport, _>| async move {
                if n % 2 == 0 {
                    case2.sim().sleep(SECOND).await;
                }
                ended.lock().unwrap().push((report.unwrap().partition(), case2.sim().elapsed()));
            };
            producer.produce_with_async(record, callback).await.unwrap();
        }
        producer.flush().callbacks().await.unwrap();
        let ended = ended.lock().unwrap().clone();
        let quick = ended.iter().filter(|(partition, _)| *partition == 1);
        case.always(quick.clone().count() == 3, "each has run");
        case.always(quick.clone().all(|(_, at)| *at <= 2 * TRIP), "those of the other partition at once");
        let slow: Vec<_> = ended.iter().filter(|(partition, _)| *partition == 0).map(|(_, at)| *at).collect();
        case.always(slow.windows(2).all(|pair| pair[0] + SECOND == pair[1]), "those of one partition one by one");
    });
}

#[test]
fn s20_a_panic_is_caught_and_a_callback_may_produce() {
    check(calm(), |case| async move {
        let producer = builder(&case).slots(4).start(case.sim().clone()).unwrap();
        let next = Arc::new(Mutex::new(None));
        let (inner, kept) = (producer.clone(), Arc::clone(&next));
        producer.produce_with(record(1), |_| std::panic::resume_unwind(Box::new("the test's own"))).await.unwrap();
        let callback = move |_| *kept.lock().unwrap() = inner.try_produce(record(3)).ok();
        producer.produce_with(record(2), callback).await.unwrap();
        producer.flush().callbacks().await.unwrap();
        case.always(producer.statistics().callbacks_panicked == 1, "the panic is counted");
        let Some(delivery) = next.lock().unwrap().take() else { return case.always(false, "the other has produced") };
        case.always(delivery.await.is_ok(), "its record is delivered");
    });
}
