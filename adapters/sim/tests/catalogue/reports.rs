//! S4, S21: a report ends its own record and no other.

use std::time::Duration;

use aioproducer_driver::AioProducer;
use aioproducer_sim::check;

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{MS, calm, now, record, swarm};

#[test]
fn s04_a_delivery_waits_for_its_own_report() {
    check(calm(), |case| async move {
        let (producer, held) = (case.producer(), case.cluster().hold("t"));
        let mut deliveries = Vec::new();
        for n in 0..6 {
            deliveries.push(producer.produce(record(n)).await.unwrap());
        }
        for done in 0..6 {
            for delivery in &mut deliveries {
                case.always(now(delivery).is_none(), "no other's report ends it");
            }
            held.next().await.deliver();
            let report = deliveries.remove(0).await.unwrap();
            case.always(report.offset() == Some(done), "its own does");
        }
    });
}

#[test]
fn s21_a_second_report_changes_nothing() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let timeout = Duration::from_millis(100 + case.sim().random(1000));
        let variant = Variant::new(case.cluster().backend()).reports_twice();
        let builder = AioProducer::builder(variant).slots(3).delivery_timeout(timeout);
        // Stale reports are what this is about, so the book does not watch it.
        let producer = builder.start(case.sim().clone()).unwrap();
        case.watch(&producer);
        let tasks = [To::Partition(0), To::Partition(1), To::Key("a")]
            .map(|to| case.spawn(book.clone().load(producer.clone(), "one".to_owned(), to, 20)));
        for task in tasks {
            task.await;
        }
        let found = producer.statistics();
        case.sometimes(found.stale_reports > 10, "many reports come twice");
        case.sim().sleep(MS * 100).await;
        book.audit().await;
        case.always(producer.statistics().in_use == 0, "all slots come back");
    });
}
