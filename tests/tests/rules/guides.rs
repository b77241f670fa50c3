//! Code in guides is code that runs: `docs/testing.md` shows `checks/service`, `docs/executors.md` shows parts of an example, and the
//! pages on simulation show parts of tests.

use std::fs;

use aioproducer_tests::sources::root;

const TESTING: &str = "docs/testing.md";

const SERVICE: [&str; 2] = ["checks/service/src/lib.rs", "checks/service/tests/service.rs"];

const EXECUTORS: &str = "docs/executors.md";

const EXECUTOR: &str = "aioproducer/examples/own_runtime/executor.rs";

/// Pages on simulation, each with the tests that it shows, and how many parts of them at least.
const SIMULATIONS: [(&str, &str, usize); 4] = [
    ("docs/simulation.md", "adapters/sim/tests/guide.rs", 4),
    ("docs/tutorial-outbox.md", "adapters/sim/tests/tutorial.rs", 5),
    ("docs/determinism.md", "adapters/sim/tests/determinism.rs", 5),
    ("docs/from-mock-producer.md", "adapters/sim/tests/mocks.rs", 4),
];

const README: &str = "README.md";

const FIRST: &str = "aioproducer/tests/first.rs";

const RUST: &str = "```rust";

/// Code that is not a complete example.
const PART: &str = "```rust,ignore";

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The blocks in a page that begin with `fence`.
fn blocks<'a>(page: &'a str, fence: &str) -> Vec<&'a str> {
    let begin = format!("{fence}\n");
    let blocks = page.split(&begin).skip(1);
    blocks.map(|rest| rest.split_once("```").expect("an end of the block").0).collect()
}

#[test]
fn the_guide_to_testing_shows_the_code_that_runs_and_all_of_it() {
    let guide = text(TESTING);
    let mut sources = SERVICE.map(text);
    let tests = sources[1].matches("#[tokio::test]").count();
    assert_eq!(tests, 5, "{} has the guide's five tests", SERVICE[1]);

    for block in blocks(&guide, RUST) {
        let source = sources.iter_mut().find(|source| source.contains(block));
        let source = source.unwrap_or_else(|| panic!("{TESTING} shows what is not in {SERVICE:?}:\n{block}"));
        *source = source.replacen(block, "", 1);
    }
    for (name, left) in SERVICE.iter().zip(sources) {
        let unseen: Vec<_> = left.lines().filter(|line| !line.is_empty() && !line.starts_with("//!")).collect();
        assert!(unseen.is_empty(), "{name} has what {TESTING} does not show:\n{}", unseen.join("\n"));
    }
}

#[test]
fn the_guide_to_executors_shows_a_part_of_the_example() {
    let (guide, source) = (text(EXECUTORS), text(EXECUTOR));
    let parts = blocks(&guide, PART);
    assert!(!parts.is_empty(), "{EXECUTORS} shows nothing of {EXECUTOR}");
    for part in parts {
        assert!(source.contains(part), "{EXECUTORS} shows what is not in {EXECUTOR}:\n{part}");
    }
}

#[test]
fn the_pages_on_simulation_show_parts_of_tests() {
    for (page, tests, at_least) in SIMULATIONS {
        let (guide, source) = (text(page), text(tests));
        let parts = blocks(&guide, RUST);
        assert!(parts.len() >= at_least, "{page} shows too little of {tests}");
        for part in parts {
            assert!(source.contains(part), "{page} shows what is not in {tests}:\n{part}");
        }
    }
}

#[test]
fn the_readmes_first_simulation_is_a_test_of_at_most_eight_lines() {
    let (readme, source) = (text(README), text(FIRST));
    let parts = blocks(&readme, PART);
    let [shown] = parts[..] else { panic!("{README} shows {} parts of tests", parts.len()) };
    assert!(source.ends_with(shown), "{README} shows what is not in {FIRST}:\n{shown}");
    let (_, body) = shown.split_once("#[tokio::test(start_paused = true)]\nasync fn ").expect("a test");
    assert!((1..=8).contains(&(body.lines().count() - 2)), "its body has more than 8 lines:\n{body}");
}

#[test]
fn blocks_are_read_without_their_fences() {
    let page = "a\n```rust\nfn a() {}\n```\nb\n```rust,ignore\nb!()\n```\n```rust\nfn c() {}\n```\n";
    assert_eq!(blocks(page, RUST), ["fn a() {}\n", "fn c() {}\n"]);
    assert_eq!(blocks(page, PART), ["b!()\n"]);
}
