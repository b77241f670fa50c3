//! S53, S55: scenarios over seeds. What breaks is found and said; what heals ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aioproducer_driver::Record;
use aioproducer_driver::error::Status;
use aioproducer_sim::{Case, FaultKind, Plan, Produce, check};

/// The message of a check that fails.
fn failure<F: Future<Output = ()>>(plan: Plan, scenario: impl Fn(Case) -> F) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| check(plan, scenario))).expect_err("the check fails");
    *panic.downcast::<String>().expect("a text")
}

fn assert_has(message: &str, parts: &[&str]) {
    let missing: Vec<_> = parts.iter().filter(|part| !message.contains(**part)).collect();
    assert!(missing.is_empty(), "{message}\nhas no {missing:?}");
}

fn order(record: &aioproducer_sim::LogRecord) -> Option<String> {
    record.payload_str().map(str::to_owned)
}

/// Publishes 200 orders; what may be in the log is not sent again.
async fn careful(case: Case) {
    let producer = case.producer();
    let mut deliveries = Vec::new();
    for n in 0..200 {
        let record = Record::to("orders").key(format!("customer-{}", n % 7)).payload(format!("order {n}"));
        deliveries.push(producer.produce(record).await.unwrap());
    }
    for delivery in deliveries {
        match delivery.await {
            Ok(report) => case.always(report.offset().is_some(), "an order that is placed has an offset"),
            Err(error) => {
                case.always(error.status() != Status::Persisted, "an order that failed is not known as placed")
            }
        }
    }
    case.expect_once(order);
}

#[test]
fn s53_with_idempotence_no_fault_makes_a_duplicate_and_all_ends() {
    check(Plan::swarm().topic("orders", 6).seeds(0..150), careful);
}

#[test]
fn s55_without_idempotence_a_lost_answer_does_and_the_seed_is_said() {
    let plan = Plan::swarm().topic("orders", 6).idempotence(false).without(FaultKind::BrokerPause).seeds(0..200);
    let message = failure(plan, careful);
    let lost = ["answer lost", "broker stop", "error answer"]
        .iter()
        .any(|kind| message.contains(&format!("needs {kind} (5 other")));
    assert!(lost, "one kind that loses an answer is enough: {message}");
    assert_has(
        &message,
        &["DUPLICATE: \"order ", "orders/", "AIOPRODUCER_SIM_SEED=", "cargo test s55_without", "tests/check.rs:"],
    );
}

#[test]
fn s55_a_panic_is_a_failure_that_needs_no_fault() {
    let message = failure(Plan::swarm().topic("orders", 1).seeds(5..6), |case| async move {
        assert_eq!(case.sim().seed(), 6, "the scenario's own");
    });
    assert_has(&message, &["seed 5: PANIC", "the scenario's own", "needs no fault (7 other kinds not needed)"]);
}

#[test]
fn s55_only_the_faults_that_are_needed_are_named() {
    let message = failure(Plan::swarm().topic("orders", 1).seeds(0..100), |case| async move {
        let producer = case.producer();
        for n in 0..100 {
            let _ = producer.send(Record::to("orders").payload(n.to_string())).await;
        }
        let moved = case.cluster().trace().to_string().matches("answered NotLeaderForPartition").count() > 0;
        case.always(!moved, "no leader moves");
    });
    assert_has(&message, &["NOT ALWAYS: no leader moves", "6 other kinds not needed"]);
    assert!(message.contains("needs leader move") || message.contains("needs error answer"), "{message}");
}

#[test]
fn s55_what_is_expected_sometimes_is_seen_or_missed() {
    let answered = |case: Case| async move {
        let producer = case.producer();
        let outcome = producer.produce(Record::to("orders")).await.unwrap().await;
        case.sometimes(outcome.is_ok(), "an order is placed");
        case.sometimes(outcome.is_err(), "an order fails");
    };
    let message = failure(Plan::calm().topic("orders", 1).seeds(0..10), answered);
    assert_has(&message, &["in 10 runs never: an order fails (adapters/sim/tests/check.rs:"]);
    let plan = Plan::swarm().topic("orders", 1).delivery_timeout(Duration::from_millis(50)).seeds(0..100);
    check(plan, answered);
}

#[test]
fn s55_a_scenario_that_differs_from_run_to_run_is_found() {
    let runs = AtomicU64::new(0);
    let message = failure(Plan::calm().topic("orders", 1).seeds(0..1), |case| {
        let extra = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            let producer = case.producer();
            producer.send(Record::to("orders").payload(vec![b'x'; extra as usize])).await.unwrap();
        }
    });
    assert_has(&message, &["NOT DETERMINISTIC", "event ", "HashMap"]);
}

#[test]
fn s55_tasks_that_live_on_are_found_with_their_place() {
    let line = line!() + 2;
    let message = failure(Plan::calm().seeds(0..1), |case| async move {
        drop(case.spawn(std::future::pending::<()>()));
    });
    assert_has(&message, &["LIVE TASKS", "1 of its tasks", &format!("tests/check.rs:{line}:")]);
}

#[test]
fn s55_a_scenario_that_never_ends_or_does_not_hit_its_fault_is_found() {
    let message = failure(Plan::calm().seeds(0..1), |_| std::future::pending::<()>());
    assert_has(&message, &["STUCK", "never ends"]);
    let message = failure(Plan::calm().topic("orders", 1).seeds(0..1), |case| async move {
        case.cluster().on(Produce).once().lose_request();
    });
    assert_has(&message, &["NOT HIT", "tests/check.rs:", "hit 0 of 1 times"]);
}

#[test]
fn s53_records_that_never_end_are_found() {
    // Held for ever, and without a timeout that ends them: the flush waits in vain.
    let message = failure(
        Plan::calm().topic("orders", 1).delivery_timeout(Duration::from_secs(5)).seeds(0..1),
        |case| async move {
            let hold = case.cluster().hold("orders");
            let backend = case.cluster().backend();
            let builder = aioproducer_driver::AioProducer::builder(backend).delivery_timeout(Duration::from_secs(3600));
            let producer = builder.start(case.sim().clone()).unwrap();
            case.watch(&producer);
            drop(producer.produce(Record::to("orders")).await.unwrap());
            std::mem::forget(hold);
        },
    );
    assert_has(&message, &["NO OUTCOME", "1 records"]);
}

#[test]
#[should_panic(expected = "is empty")]
fn s55_an_empty_range_of_seeds_is_refused() {
    #[allow(clippy::reversed_empty_ranges, reason = "the mistake that is to be found")]
    check(Plan::calm().seeds(7..3), |_| async {});
}

/// What a trace says of each kind of fault.
const SIGNS: [(FaultKind, &str); 7] = [
    (FaultKind::AnswerLost, "fault: the answer is lost"),
    (FaultKind::RequestLost, "fault: the request is lost"),
    (FaultKind::ErrorAnswer, "fault: the answer is an error"),
    (FaultKind::Delay, "fault: a delay"),
    (FaultKind::BrokerStop, " stops"),
    (FaultKind::BrokerPause, " pauses"),
    (FaultKind::LeaderMove, "the leader is broker "),
];

#[test]
fn s55_each_kind_of_fault_is_drawn_and_only_those_that_are_allowed() {
    for (kind, sign) in SIGNS {
        let others = FaultKind::all().filter(|other| *other != kind);
        let only = others.fold(Plan::swarm(), Plan::without);
        check(only.topic("orders", 3).seeds(0..60), |case| async move {
            careful(case.clone()).await;
            // A broker that stops takes its leaders with it.
            let is_other =
                |other: FaultKind| other != kind && (kind, other) != (FaultKind::BrokerStop, FaultKind::LeaderMove);
            let trace = case.cluster().trace().to_string();
            case.sometimes(trace.contains(sign), "the kind of fault that is allowed");
            let other = SIGNS.iter().find(|(other, sign)| is_other(*other) && trace.contains(sign));
            case.always(other.is_none(), "no other kind");
        });
    }
}

#[test]
fn s53_what_waits_for_a_stopped_broker_is_delivered_when_all_has_healed() {
    let healed = std::cell::RefCell::new(None);
    check(Plan::calm().brokers(1).topic("orders", 1).seeds(0..3), |case| {
        *healed.borrow_mut() = Some(case.cluster().clone());
        async move {
            case.cluster().broker(1).stop();
            drop(case.producer().produce(Record::to("orders")).await.unwrap());
        }
    });
    let healed = healed.into_inner().unwrap();
    assert_eq!(healed.topic("orders").records().len(), 1);
}
