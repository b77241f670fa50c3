//! The code of `docs/determinism.md`, which shows parts of this file.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Case, Plan, check};

/// Publishes the total of each customer.
async fn publish_totals(producer: &AioProducer, totals: impl IntoIterator<Item = (String, u32)>) {
    for (customer, total) in totals {
        producer.send(Record::to("totals").key(customer).payload(total.to_string())).await.unwrap();
    }
}

fn totals<M: FromIterator<(String, u32)>>() -> M {
    (0..20).map(|n| (format!("customer {n}"), 100 * n)).collect()
}

/// The message of a check that fails.
fn failure<F: Future<Output = ()>>(plan: Plan, scenario: impl Fn(Case) -> F + Sync) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| check(plan, scenario))).expect_err("the check fails");
    *panic.downcast::<String>().expect("a text")
}

#[test]
fn s55_the_order_of_a_hash_map_is_found() {
    let message = failure(Plan::calm().topic("totals", 3).seeds(0..1), |case| async move {
        publish_totals(&case.producer(), totals::<HashMap<_, _>>()).await;
    });
    assert!(message.contains("seed 0: NOT DETERMINISTIC: two runs of the seed differ: event "), "{message}");
}

#[test]
fn an_ordered_map_is_published_in_the_same_order_each_time() {
    check(Plan::swarm().topic("totals", 3).seeds(0..20), |case| async move {
        publish_totals(&case.producer(), totals::<BTreeMap<_, _>>()).await;
        case.expect_once(|record| record.key_str().map(str::to_owned));
    });
}

/// Places an order. What differs from run to run is an argument: the order's id, and the time.
async fn place(producer: &AioProducer, id: u64, at: Duration, order: &str) -> Option<i64> {
    let record = Record::to("orders").key(id.to_string()).payload(order).timestamp_millis(at.as_millis() as i64);
    producer.send(record).await.ok()?.offset()
}

#[test]
fn ids_and_times_are_those_of_the_run() {
    check(Plan::swarm().topic("orders", 3).seeds(0..20), |case| async move {
        let (producer, sim) = (case.producer(), case.sim());
        for _ in 0..10 {
            // In production: Uuid::new_v4(), SystemTime::now()
            let placed = place(&producer, sim.random(u64::MAX), sim.elapsed(), "two apples").await;
            case.always(placed.is_some(), "two minutes are enough");
        }
    });
}

#[test]
fn a_choice_between_branches_is_the_same_each_time() {
    check(Plan::swarm().topic("orders", 3).seeds(0..20), |case| async move {
        let producer = case.producer();
        let mut delivery = pin!(producer.send(Record::to("orders").payload("two apples")));
        let is_placed = tokio::select! {
            biased;
            sent = &mut delivery => sent.is_ok(),
            () = case.sim().sleep(Duration::from_secs(1)) => false,
        };
        case.sometimes(is_placed, "an order is placed within a second");
    });
}
