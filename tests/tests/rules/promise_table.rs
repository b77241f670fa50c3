//! S9, and every promise has a test with its number: `docs/promises.md` lists them.
//!
//! The list is written by `WRITE_DOCS=1 cargo test -p aioproducer-tests --test rules promise_table`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use aioproducer_tests::sources::{Test, assert_page, root, tests};

/// The promises that are kept: each has at least one test.
const KEPT: [u32; 48] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 44, 45, 47, 50, 51, 52, 53, 55,
];

/// The promises without a runtime, or with the simulation's own. All others have a test on all four executors.
const WITHOUT_RUNTIME: [u32; 7] = [9, 14, 50, 51, 52, 53, 55];

/// All promises, in a few words each.
const PROMISES: [&str; 40] = [
    "`produce` resolves to a `Delivery` once the record owns a slot; it waits only while the pool is full, in turn",
    "`try_produce` never waits; `Full` or `PartitionFull` hands the record back",
    "a delivery tells where the record is, or hands it back and says whether it is in the log",
    "a delivery stays pending until its own report",
    "a dropped delivery cancels nothing; a dropped `produce` was never sent",
    "`retract` gives a record back that was not handed off yet, exactly",
    "`send` and `produce_all`: produce and await in one call, one record or many",
    "all parts of a record arrive as they were given; null and empty differ",
    "what does not exist does not compile",
    "produce after close hands the record back",
    "a batch is cut by count, bytes, age of its oldest record, flush or urgency",
    "one (topic, partition) per batch, its order kept; a topic can be flushed alone",
    "linger zero means at once",
    "a batch is immutable; its factory refuses what is none",
    "a record that can never be sent fails alone",
    "a full queue makes the rest wait, in order; nothing fails by it",
    "the delivery timeout runs from `produce` and covers both layers",
    "the log's order is the call order, by partition and by key",
    "a fatal error fails what is pending and refuses the rest",
    "callbacks: once each, on the runtime, contained, in order within a partition",
    "the pool never grows; slots return on every path; stale reports change nothing",
    "statistics count",
    "`flush` waits for what was accepted before it, and only that",
    "`purge` resolves what it takes at once, with its status",
    "`close` sends what it can, gives back the rest, ends the threads",
    "drop never blocks; pending deliveries fail; threads end",
    "`len` counts every stage and misses none",
    "no call blocks a runtime's thread",
    "the same behaviour on every executor",
    "any future may be dropped at any poll",
    "a runtime that ends, ends the producer; nothing hangs",
    "handles are cheap and shared",
    "librdkafka's keys as they are; errors name the culprit; secrets stay secret",
    "events reach the application on its runtime, without polling",
    "metadata, credentials and fatal state, async",
    "transactions as a session, off the runtime",
    "a commit awaits its deliveries, and fails if one did",
    "an abort drops what is still buffered",
    "errors of transactions say what to do",
    "committed is visible, aborted is not, a fenced producer is fatal",
];

/// Later promises, with their numbers.
const LATER: [(u32, &str); 8] = [
    (44, "every error of a record says what to do with it, and which records can be sent again without a duplicate"),
    (
        45,
        "by policy, a fatal error or a stall renews the client: what was not sent goes on in order, what may be in the log is handed back \
         before",
    ),
    (47, "an offset is one that a broker sent, or none"),
    (50, "the production type runs on a simulated cluster, with no thread and no socket"),
    (51, "the same seed is the same run; a scenario that never ends is found"),
    (52, "a scripted fault that was not hit, or names what does not exist, fails the test with its place"),
    (53, "after healing, everything that was accepted ends"),
    (55, "a failing seed says what broke, which faults it needs, and the command that repeats it"),
];

type Table = BTreeMap<u32, Vec<Test>>;

fn table() -> Table {
    let mut table = Table::new();
    for test in tests() {
        if let Some(number) = test.promise() {
            table.entry(number).or_default().push(test);
        }
    }
    table
}

fn document(table: &Table) -> String {
    let mut text = String::from(
        "# Promises and their tests\n\n\
         Written by `WRITE_DOCS=1 cargo test -p aioproducer-tests --test rules promise_table` from the names of the tests; the\n\
         same test fails when this file is not what it would write. Tests with `×4` run on tokio's two runtimes, smol's\n\
         global executor and an executor of one's own. Tests with `Kafka` need a real broker: `checks/kafka/check.sh` runs\n\
         them, and `cargo test` by itself says that they are ignored.\n",
    );
    for (number, promise) in (1..).zip(PROMISES).chain(LATER) {
        let _ = writeln!(text, "\n## S{number}: {promise}\n");
        let mut files = BTreeMap::<&str, Vec<String>>::new();
        for test in table.get(&number).into_iter().flatten() {
            let executors = if test.on_executors { " ×4" } else { "" };
            let broker = if test.on_kafka { " Kafka" } else { "" };
            files.entry(&test.file).or_default().push(format!("  - `{}`{executors}{broker}\n", test.name));
        }
        for (file, tests) in &files {
            let _ = write!(text, "- `{file}`\n{}", tests.concat());
        }
        if files.is_empty() {
            text.push_str("- not kept yet\n");
        }
    }
    text
}

#[test]
fn every_promise_has_a_test() {
    let table = table();
    let missing: Vec<_> = KEPT.iter().filter(|number| !table.contains_key(number)).collect();
    assert!(missing.is_empty(), "no test is named after {missing:?}");
    let on_executors = |number: &u32| table[number].iter().any(|test| test.on_executors);
    let narrow: Vec<_> = KEPT.iter().filter(|n| !WITHOUT_RUNTIME.contains(n) && !on_executors(n)).collect();
    assert!(narrow.is_empty(), "no test on all four executors is named after {narrow:?}");
    let unknown: Vec<_> = table.keys().filter(|number| !KEPT.contains(*number)).collect();
    assert!(unknown.is_empty(), "there is no promise {unknown:?}");
}

#[test]
fn the_table_of_promises_is_what_the_sources_say() {
    assert_page("docs/promises.md", &document(&table()), "rules promise_table");
}

/// The compiler checks them: these examples are this package's documentation tests.
#[test]
fn s09_examples_show_what_does_not_compile_and_what_does_instead() {
    let text = fs::read_to_string(root().join("tests/src/lib.rs")).expect("the source");
    let refused = text.lines().filter(|line| line.starts_with("//! ```compile_fail")).count();
    let accepted =
        text.lines().zip(text.lines().skip(1)).filter(|(a, b)| *a == "//! ```" && !b.trim_end().ends_with("//!"));
    assert!(refused >= 6, "{refused} examples that must not compile");
    assert!(accepted.count() >= 3, "and the same without the mistake");
    // Each mistake is a known one: the error's number is given.
    let named = text.lines().filter(|line| line.starts_with("//! ```compile_fail,E")).count();
    assert!(named + 1 >= refused, "only a lint has no number");
}
