//! `docs/testing.md` and `checks/service` hold the same code: what the guide shows is what runs.

use std::fs;

use aioproducer_tests::sources::root;

const GUIDE: &str = "docs/testing.md";

const SOURCES: [&str; 2] = ["checks/service/src/lib.rs", "checks/service/tests/service.rs"];

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The blocks of Rust code in a page.
fn blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("```rust\n").skip(1);
    blocks.map(|rest| rest.split_once("```").expect("an end of the block").0).collect()
}

#[test]
fn the_guide_shows_the_code_that_runs_and_all_of_it() {
    let guide = text(GUIDE);
    let mut sources = SOURCES.map(text);
    let tests = sources[1].matches("#[tokio::test]").count();
    assert_eq!(tests, 5, "{} has the guide's five tests", SOURCES[1]);

    for block in blocks(&guide) {
        let source = sources.iter_mut().find(|source| source.contains(block));
        let source = source.unwrap_or_else(|| panic!("{GUIDE} shows what is not in {SOURCES:?}:\n{block}"));
        *source = source.replacen(block, "", 1);
    }
    for (name, left) in SOURCES.iter().zip(sources) {
        let unseen: Vec<_> = left.lines().filter(|line| !line.is_empty() && !line.starts_with("//!")).collect();
        assert!(unseen.is_empty(), "{name} has what {GUIDE} does not show:\n{}", unseen.join("\n"));
    }
}

#[test]
fn blocks_are_read_without_their_fences() {
    let page = "a\n```rust\nfn a() {}\n```\nb\n```toml\nb = 1\n```\n```rust\nfn c() {}\n```\n";
    assert_eq!(blocks(page), ["fn a() {}\n", "fn c() {}\n"]);
}
