//! S55: what a test gets wrong is said with its place.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use aioproducer_driver::Record;
use aioproducer_driver::error::ErrorCode;
use aioproducer_sim::{Case, Plan, Produce, SimCluster, check};

/// The message of a check that fails.
fn failure<F: Future<Output = ()>>(plan: Plan, scenario: impl Fn(Case) -> F + Sync) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| check(plan, scenario))).expect_err("the check fails");
    *panic.downcast::<String>().expect("a text")
}

fn one() -> Plan {
    Plan::calm().topic("orders", 3).seeds(0..1)
}

/// The message has `parts`, and the place in this file.
fn assert_says(message: &str, line: u32, parts: &[&str]) {
    let place = format!("tests/mistakes.rs:{line}:");
    let place = [place.as_str()];
    let missing: Vec<_> = parts.iter().chain(&place).filter(|part| !message.contains(**part)).collect();
    assert!(missing.is_empty(), "{message}\nhas no {missing:?}");
}

#[test]
fn s55_a_fault_for_an_unknown_topic() {
    let line = line!() + 2;
    let message = failure(one(), |case| async move {
        case.cluster().on(Produce.to("order")).once().lose_request();
    });
    assert_says(&message, line, &["no topic `order`", "it has `orders`"]);
}

#[test]
fn s55_a_fault_for_an_unknown_partition() {
    let line = line!() + 2;
    let message = failure(one(), |case| async move {
        case.cluster().on(Produce.to("orders").partition(3)).once().answer(ErrorCode::NotLeaderForPartition);
    });
    assert_says(&message, line, &["`orders` has no partition 3", "it has 3, from 0 on"]);
}

#[test]
fn s55_a_fault_after_the_clusters_end() {
    let line = line!() + 5;
    let message = failure(one(), |_| async move {
        let kafka = SimCluster::new();
        let on = kafka.on(Produce);
        drop(kafka);
        on.once().lose_request();
    });
    assert_says(&message, line, &["the cluster has ended", "define faults before"]);
    let line = line!() + 5;
    let message = failure(one(), |_| async move {
        let kafka = SimCluster::new();
        let broker = kafka.broker(1);
        drop(kafka);
        broker.stop();
    });
    assert_says(&message, line, &["the cluster has ended"]);
}

#[test]
fn s55_a_fault_after_the_runs_end() {
    let kept = std::sync::Mutex::new(None);
    check(one(), |case| {
        *kept.lock().unwrap() = Some(case.cluster().clone());
        async {}
    });
    let kept = kept.into_inner().unwrap().unwrap();
    let error = catch_unwind(AssertUnwindSafe(|| kept.on(Produce).once().lose_request())).expect_err("too late");
    assert!(error.downcast_ref::<&str>().unwrap().contains("its run is over"));
}

#[test]
fn s55_a_fault_that_no_request_meets() {
    let line = line!() + 2;
    let message = failure(one(), |case| async move {
        case.cluster().on(Produce.to("orders")).times(2).lose_request();
    });
    assert_says(&message, line, &["NOT HIT", "orders: the request is lost", "hit 0 of 2 times"]);
}

#[test]
fn s55_a_range_of_seeds_that_is_empty() {
    let message = failure(Plan::calm().seeds(7..7), |_| async {});
    for part in ["7..7 is empty", "nothing would be checked", "Plan::seeds"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn s55_a_task_that_lives_on() {
    let line = line!() + 2;
    let message = failure(one(), |case| async move {
        drop(case.spawn(std::future::pending::<()>()));
    });
    assert_says(&message, line, &["LIVE TASKS", "await them"]);
}

#[test]
fn s55_a_scenario_that_never_ends() {
    let line = line!() + 2;
    let message = failure(one(), |case| async move {
        drop(case.spawn(std::future::pending::<()>()));
        std::future::pending::<()>().await;
    });
    assert_says(&message, line, &["STUCK", "never ends", "no timer is set"]);
}

#[test]
fn s55_a_task_that_spins() {
    let line = line!() + 3;
    let message = failure(one().wall_limit(Duration::from_millis(10)), |case| async move {
        let sim = case.sim().clone();
        let spinning = case.spawn(async move {
            loop {
                sim.sleep(Duration::ZERO).await;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    std::task::Poll::<()>::Pending
                })
                .await;
            }
        });
        spinning.await;
    });
    assert_says(&message, line, &["STUCK", "did not end within 10ms of real time", "a task wakes itself"]);
}

#[test]
fn s55_a_thread() {
    let message = failure(one(), |case| async move {
        let (sender, receiver) = std::sync::mpsc::channel::<std::task::Waker>();
        let thread = std::thread::spawn(move || receiver.recv().unwrap().wake());
        let mut asleep = Some((sender, thread));
        std::future::poll_fn(|cx| {
            let Some((sender, thread)) = asleep.take() else { return std::task::Poll::Ready(()) };
            sender.send(cx.waker().clone()).unwrap();
            thread.join().unwrap();
            std::task::Poll::Pending
        })
        .await;
        drop(case);
    });
    for part in ["STUCK", "woken by another thread", "start no thread"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Produces these, one after the other.
async fn produce(case: Case, payloads: Vec<String>) {
    let producer = case.producer();
    for payload in payloads {
        producer.send(Record::to("orders").partition(0).payload(payload)).await.unwrap();
    }
}

#[test]
fn s55_the_order_of_a_hash_map() {
    let message = failure(one(), |case| {
        let map: HashMap<_, _> = (100..200).map(|n| (n, ())).collect();
        produce(case, map.into_keys().map(|n: u32| n.to_string()).collect())
    });
    for part in ["NOT DETERMINISTIC", "1 records are sent, digest", "HashMap"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the mistake that is to be found")]
fn s55_the_real_clock() {
    let message = failure(one(), |case| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        produce(case, vec![format!("{:020}", now.as_nanos())])
    });
    for part in ["NOT DETERMINISTIC", "digest", "a real clock"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn s55_a_panic_has_its_place() {
    let line = line!() + 2;
    let message = failure(one(), |case| async move {
        assert_eq!(case.sim().seed(), 6, "the scenario's own");
    });
    assert_says(&message, line, &["PANIC", "the scenario's own"]);
}
