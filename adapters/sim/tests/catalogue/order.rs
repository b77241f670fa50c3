//! S18: the log's order is the call order, by partition and by key.

use std::time::Duration;

use aioproducer_driver::AioProducer;
use aioproducer_sim::{Case, check};

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{MS, SECOND, swarm};

const LINES: [To; 4] = [To::Key("a"), To::Key("b"), To::Partition(0), To::Anywhere];

/// Several tasks produce to each line, and the log is as they called.
async fn load(case: &Case, variant: Variant) {
    let book = Book::new(case);
    let builder = AioProducer::builder(variant).delivery_timeout(Duration::from_secs(120));
    let producer = book.watch(builder.batch_records(4).start(case.sim().clone()).unwrap());
    let mut tasks = Vec::new();
    for to in LINES {
        for task in 0..2 {
            tasks.push(case.spawn(book.clone().load(producer.clone(), format!("task {task}"), to, 15)));
        }
    }
    for task in tasks {
        task.await;
    }
    book.audit().await;
}

#[test]
fn s18_tasks_that_produce_to_the_same_partitions_keep_their_order() {
    check(swarm(), |case| async move { load(&case, Variant::new(case.cluster().backend())).await });
}

#[test]
fn s18_two_workers_keep_the_order_of_a_lane() {
    check(swarm(), |case| async move { load(&case, Variant::new(case.cluster().backend()).two_workers()).await });
}

#[test]
fn s18_a_full_queue_keeps_the_order() {
    check(swarm(), |case| async move {
        load(&case, Variant::new(case.cluster().backend().queue_records(3)).two_workers()).await;
    });
}

#[test]
fn s18_keys_keep_their_order_when_the_partitions_become_known() {
    check(swarm().seeds(0..80), |case| async move {
        let known = MS * case.sim().random(400) as u32;
        let backend = case.cluster().backend().queue_records(2);
        load(&case, Variant::new(backend).unplaced_for(known)).await;
    });
}

#[test]
fn s18_keys_keep_their_order_while_leaders_are_silent() {
    check(swarm().seeds(0..80), |case| async move {
        let known = MS * case.sim().random(400) as u32;
        let variant = Variant::new(case.cluster().backend()).availability(SECOND / 10).two_workers();
        load(&case, variant.unplaced_for(known)).await;
    });
}

#[test]
fn s18_a_batch_that_is_given_up_is_not_written_late() {
    check(swarm(), |case| async move {
        let backend = case.cluster().backend().retries(1).request_timeout(SECOND / 5);
        load(&case, Variant::new(backend)).await;
    });
}
