//! The code of `docs/tutorial-outbox.md`, which shows parts of this file, and that its tests say what the page says of them.

use std::env;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use aioproducer_driver::error::Status;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Plan, check};

/// Where an order of the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent,
    InDoubt,
}

/// The table of orders that are to be published. A database has it, in a service.
struct Outbox(Mutex<Vec<(String, State)>>);

impl Outbox {
    fn with_orders(count: usize) -> Self {
        Self(Mutex::new((0..count).map(|n| (format!("order {n}"), State::Waiting)).collect()))
    }

    /// The first order that waits.
    fn next(&self) -> Option<String> {
        let rows = self.0.lock().unwrap();
        rows.iter().find(|(_, state)| *state == State::Waiting).map(|(id, _)| id.clone())
    }

    fn mark(&self, id: &str, state: State) {
        self.0.lock().unwrap().iter_mut().filter(|row| row.0 == id).for_each(|row| row.1 = state);
    }

    fn count(&self, state: State) -> usize {
        self.0.lock().unwrap().iter().filter(|row| row.1 == state).count()
    }
}

/// Publishes what waits, and marks it as sent.
async fn publish(outbox: &Outbox, producer: &AioProducer) {
    while let Some(id) = outbox.next() {
        let record = Record::to("orders").key(&id).payload("two apples");
        if producer.send(record).await.is_ok() {
            outbox.mark(&id, State::Sent);
        }
        // Else it still waits, and is sent again.
    }
}

#[ignore = "it fails, as the tutorial shows"]
#[test]
fn no_order_is_published_twice() {
    let plan = Plan::swarm().topic("orders", 3).delivery_timeout(Duration::from_secs(1)).seeds(0..200);
    check(plan, |case| async move {
        let outbox = Outbox::with_orders(20);
        publish(&outbox, &case.producer()).await;
        case.always(outbox.count(State::Sent) == 20, "each order is sent");
        case.expect_once(|record| record.key_str().map(str::to_owned));
    });
}

/// Publishes what waits. An order that may be in the log is not sent again: it is marked for those who look there.
async fn publish_or_doubt(outbox: &Outbox, producer: &AioProducer) {
    while let Some(id) = outbox.next() {
        let record = Record::to("orders").key(&id).payload("two apples");
        match producer.send(record).await {
            Ok(_) => outbox.mark(&id, State::Sent),
            Err(error) if error.status() == Status::NotPersisted => {}
            Err(_) => outbox.mark(&id, State::InDoubt),
        }
    }
}

#[test]
fn no_order_is_published_twice_and_some_are_in_doubt() {
    let plan = Plan::swarm().topic("orders", 3).delivery_timeout(Duration::from_secs(1)).seeds(0..200);
    check(plan, |case| async move {
        let outbox = Outbox::with_orders(20);
        publish_or_doubt(&outbox, &case.producer()).await;
        let (sent, in_doubt) = (outbox.count(State::Sent), outbox.count(State::InDoubt));
        case.always(sent + in_doubt == 20, "each order is sent or in doubt");
        case.always(sent <= case.cluster().topic("orders").records().len(), "what is sent is in the log");
        case.sometimes(in_doubt > 0, "an order is in doubt");
        case.expect_once(|record| record.key_str().map(str::to_owned));
    });
}

/// Runs the test that fails as a reader of the tutorial does, in a process of its own.
fn run_the_test_that_fails(seed: Option<&str>) -> String {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args(["--exact", "no_order_is_published_twice", "--ignored", "--nocapture"]);
    for name in ["AIOPRODUCER_SIM_SEED", "AIOPRODUCER_SIM_SEEDS", "AIOPRODUCER_SIM_SECONDS"] {
        command.env_remove(name);
    }
    command.envs(seed.map(|seed| ("AIOPRODUCER_SIM_SEED", seed)));
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!status.success() && said.contains("1 failed"), "the order that is sent twice is not found: {said}");
    said
}

/// The line with the failure, and those behind it with the faults, the trace and the command.
fn message(said: &str) -> Vec<&str> {
    said.lines().skip_while(|line| !line.starts_with("seed ")).take(4).collect()
}

#[test]
fn s55_the_tutorials_test_finds_its_bug_and_the_command_that_it_prints_repeats_it() {
    let found = run_the_test_that_fails(None);
    let first = message(&found);
    let [failure, _, trace, repeat] = first[..] else { panic!("no message: {found}") };
    assert!(failure.contains(": DUPLICATE: \"order ") && failure.contains("tests/tutorial.rs:"), "{failure}");
    let (seed, rest) = failure["seed ".len()..].split_once(':').expect("a seed");
    assert!(seed.parse::<u64>().is_ok_and(|seed| seed < 200), "within 200 seeds: {failure}");
    let command = format!("AIOPRODUCER_SIM_SEED={seed} cargo test no_order_is_published_twice -- --nocapture");
    assert_eq!(repeat.trim(), format!("repeat: {command}"), "{rest}");
    assert!(trace.contains("no_order_is_published_twice-"), "{trace}");

    let repeated = run_the_test_that_fails(Some(seed));
    assert_eq!(message(&repeated), first, "the same failure");
    assert!(repeated.contains("records are sent"), "with the trace: {repeated}");
}
