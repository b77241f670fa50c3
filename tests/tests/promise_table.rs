//! Every promise that the mock cluster or a script can show has a test that carries its number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The promises that are kept today.
const PROMISES: [u32; 32] = [
    1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 18, 21, 22, 23, 25, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 37,
    38, 39,
];

/// Where tests are.
const FOLDERS: [&str; 3] = ["tests/tests", "core/tests", "rdkafka-backend/tests"];

/// Adds the functions `sNN_…` of all sources in `folder`.
fn collect(folder: &Path, tests: &mut BTreeMap<u32, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            for name in text.lines().filter_map(function) {
                if let Some(number) = promise(name) {
                    tests.entry(number).or_default().insert(name.to_owned());
                }
            }
        }
    }
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let (_, rest) =
        line.trim_start().split_once("fn ").filter(|(before, _)| before.is_empty() || *before == "async ")?;
    rest.split(['(', '<']).next()
}

/// The number in a name like `s07_send`.
fn promise(name: &str) -> Option<u32> {
    let (number, _) = name.strip_prefix('s')?.split_once('_')?;
    if number.len() == 2 { number.parse().ok() } else { None }
}

#[test]
fn every_promise_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut tests = BTreeMap::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut tests);
    }
    let missing: Vec<_> = PROMISES.iter().filter(|number| !tests.contains_key(number)).collect();
    assert!(missing.is_empty(), "no test for {missing:?}; there are {tests:#?}");
}

#[test]
fn names_are_read_as_meant() {
    assert_eq!(function("    fn s14_a_batch() {").and_then(promise), Some(14));
    assert_eq!(function("async fn s01_waits(host: Host) {").and_then(promise), Some(1));
    assert_eq!(function("fn s31_ends<E: Executor>() {").and_then(promise), Some(31));
    assert_eq!(function("fn settle() {").and_then(promise), None);
    assert_eq!(function("// see fn s31_ends"), None);
}
