//! S53, S55: scenarios over seeds. What breaks is found and said; what heals ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use aioproducer_driver::error::Status;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Case, FaultKind, Plan, check};

/// The message of a check that fails.
fn failure<F: Future<Output = ()>>(plan: Plan, scenario: impl Fn(Case) -> F + Sync) -> String {
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
    check(Plan::swarm().topic("orders", 6).seeds(0..20_000), careful);
}

/// Publishes orders, and expects nothing of the log itself.
async fn careless(case: Case) {
    let producer = case.producer();
    for n in 0..50 {
        let _ =
            producer.send(Record::to("orders").key(format!("customer-{}", n % 7)).payload(format!("order {n}"))).await;
    }
}

/// Only answers are lost.
fn answers_lost() -> Plan {
    let others = FaultKind::all().filter(|kind| *kind != FaultKind::AnswerLost);
    others.fold(Plan::swarm(), Plan::without).topic("orders", 6).seeds(0..50)
}

#[test]
fn s55_the_checker_names_duplicates_of_a_broker_that_does_not_look_for_them() {
    let message = failure(answers_lost().idempotence(false), careless);
    assert_has(&message, &["DUPLICATE orders/", " \"order ", "needs answer lost (0 other", "1 fault of "]);
    check(answers_lost().idempotence(false).allow_duplicates(), careless);
    check(answers_lost(), careless);
}

#[test]
fn s55_the_checker_looks_at_producers_that_the_scenario_builds_itself() {
    let message = failure(answers_lost(), |case| async move {
        let backend = case.cluster().backend().idempotence(false);
        let producer = AioProducer::builder(backend).start(case.sim().clone()).unwrap();
        for n in 0..50 {
            let _ = producer.send(Record::to("orders").payload(n.to_string())).await;
        }
    });
    assert_has(&message, &["DUPLICATE orders/"]);
}

#[test]
fn s55_two_producers_of_equal_records_are_kept_apart() {
    check(Plan::swarm().topic("orders", 1).seeds(0..200), |case| async move {
        let producers = [case.producer(), case.producer()];
        for n in 0..20 {
            for producer in &producers {
                drop(producer.produce(Record::to("orders").payload(n.to_string())).await.unwrap());
            }
        }
    });
}

#[test]
fn s55_an_order_by_key_is_expected_and_its_breach_named() {
    let line = line!() + 5;
    let message = failure(Plan::calm().topic("orders", 1).seeds(0..1), |case| async move {
        for n in [1, 3, 2] {
            case.producer().send(Record::to("orders").key("a").payload(n.to_string())).await.unwrap();
        }
        case.expect_order(|record| Some((record.key_str()?.to_owned(), record.payload_str()?.parse::<u32>().ok()?)));
    });
    let place = format!("(adapters/sim/tests/check.rs:{line}:");
    assert_has(&message, &["REORDERED: 2 of \"a\" at orders/0@2 is behind 3 at orders/0@1", &place]);
}

#[test]
fn s55_a_slot_that_does_not_return_is_found() {
    let plan = Plan::calm().topic("orders", 1).delivery_timeout(Duration::from_secs(5)).seeds(0..1);
    let message = failure(plan, |case| async move {
        let hold = case.cluster().hold("orders");
        drop(case.producer().produce(Record::to("orders")).await.unwrap());
        std::mem::forget(hold);
    });
    assert_has(&message, &["SLOT LEAK: 1 slots are in use"]);
}

#[test]
fn s55_a_failure_leaves_its_trace() {
    let message = failure(answers_lost().idempotence(false), careless);
    let path = message.lines().find_map(|line| line.trim().strip_prefix("trace: ")).expect("a path");
    let trace = std::fs::read_to_string(path).unwrap();
    assert_has(path, &["aioproducer-sim", "s55_a_failure_leaves_its_trace-"]);
    assert_has(&trace, &["# seed ", "DUPLICATE orders/", "# hash "]);
    assert_eq!(trace.matches("fault: the answer is lost").count(), 1, "reduced to one fault: {trace}");
}

/// Run by the test below, in processes of their own.
#[test]
#[ignore = "fails, as it has to"]
fn a_check_that_fails() {
    check(answers_lost().idempotence(false), careless);
}

#[test]
fn s55_jobs_and_the_folder_for_traces_are_of_the_environment() {
    let folder = std::env::temp_dir().join(format!("aioproducer-sim-{}", std::process::id()));
    let run = |jobs: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "a_check_that_fails"]);
        command.env("AIOPRODUCER_SIM_JOBS", jobs).env("AIOPRODUCER_SIM_TRACE_DIR", &folder);
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        output
            .lines()
            .skip_while(|line| !line.starts_with("seed "))
            .take(4)
            .map(|line| line.to_owned() + "\n")
            .collect::<String>()
    };
    let (one, three) = (run("1"), run("3"));
    assert_eq!(one, three, "what is found does not depend on the number of threads");
    assert_has(&one, &["DUPLICATE", &format!("trace: {}", folder.display())]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn s55_without_idempotence_a_lost_answer_does_and_the_seed_is_said() {
    let plan = Plan::swarm().topic("orders", 6).idempotence(false).without(FaultKind::BrokerPause).seeds(0..200);
    let message = failure(plan, careful);
    let lost = ["answer lost", "broker stop", "error answer"]
        .iter()
        .any(|kind| message.contains(&format!("needs {kind} (5 other kinds not needed): 1 fault of ")));
    assert!(lost, "one kind that loses an answer is enough: {message}");
    assert_has(
        &message,
        &["DUPLICATE: \"order ", "orders/", "AIOPRODUCER_SIM_SEED=", "cargo test s55_without", "tests/check.rs:"],
    );
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
fn s53_records_that_never_end_are_found() {
    // Held for ever, and without a timeout that ends them: the flush waits in vain.
    let message = failure(
        Plan::calm().topic("orders", 1).delivery_timeout(Duration::from_secs(5)).seeds(0..1),
        |case| async move {
            let hold = case.cluster().hold("orders");
            let backend = case.cluster().backend();
            let builder = AioProducer::builder(backend).delivery_timeout(Duration::from_secs(3600));
            let producer = builder.start(case.sim().clone()).unwrap();
            case.watch(&producer);
            drop(producer.produce(Record::to("orders")).await.unwrap());
            std::mem::forget(hold);
        },
    );
    assert_has(&message, &["NO OUTCOME", "1 records"]);
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
    let healed = Mutex::new(None);
    check(Plan::calm().brokers(1).topic("orders", 1).seeds(0..3), |case| {
        *healed.lock().unwrap() = Some(case.cluster().clone());
        async move {
            case.cluster().broker(1).stop();
            drop(case.producer().produce(Record::to("orders")).await.unwrap());
        }
    });
    let healed = healed.into_inner().unwrap().unwrap();
    assert_eq!(healed.topic("orders").records().len(), 1);
}
