//! The tables in `docs/` name tests. They exist, and the tables have all the rows that they should.

use std::collections::BTreeSet;
use std::fs;

use aioproducer_tests::sources::{quoted, root, rows, tests};

/// The sections of the Python producer's tests, and how many behaviours each has.
const PYTHON: [(&str, usize); 5] = [
    ("Producer (26)", 26),
    ("Timeout manager (14)", 14),
    ("Batch executor (6)", 6),
    ("Batch processor (18)", 18),
    ("Callback pool and handler (21)", 21),
];

/// The numbers of the tests of librdkafka that are mirrored.
const LIBRDKAFKA: [u32; 36] = [
    2, 3, 5, 8, 11, 13, 17, 20, 37, 39, 40, 43, 44, 48, 52, 55, 62, 68, 70, 72, 73, 76, 84, 86, 90, 94, 95, 103, 105,
    117, 125, 143, 144, 146, 151, 152,
];

/// A row: what it is about, the tests it names, and what it says about differences.
struct Row<'a> {
    section: &'a str,
    number: u32,
    tests: Vec<&'a str>,
    reason: &'a str,
}

fn read(text: &str) -> Vec<Row<'_>> {
    rows(text).into_iter().map(|(section, cells)| row(section, &cells)).collect()
}

fn row<'a>(section: &'a str, cells: &[&'a str]) -> Row<'a> {
    let [number, about, tests, reason] = cells else {
        panic!("{section}: four cells are expected, not {cells:?}");
    };
    assert!(!about.is_empty(), "{section}, {number}: about what?");
    Row { section, number: number.parse().expect("a number"), tests: quoted(tests).collect(), reason }
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

/// Every row names tests that exist, or says why there is none.
fn check(name: &str, rows: &[Row<'_>]) {
    let known: BTreeSet<_> = tests().into_iter().map(|test| test.name).collect();
    for Row { section, number, tests, reason } in rows {
        assert!(!tests.is_empty() || !reason.is_empty(), "{name}, {section}, {number}: neither a test nor a reason");
        for test in tests {
            assert!(known.contains(*test), "{name}, {section}, {number}: there is no test `{test}`");
        }
    }
}

#[test]
fn every_behaviour_of_the_python_producer_has_a_counterpart() {
    let text = document("python-tests.md");
    let rows = read(&text);
    check("docs/python-tests.md", &rows);
    for (section, count) in PYTHON {
        let numbers: Vec<_> = rows.iter().filter(|row| row.section == section).map(|row| row.number as usize).collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{section}");
    }
    assert_eq!(rows.len(), PYTHON.iter().map(|(_, count)| count).sum::<usize>(), "an unknown section");
    // Where it starves, hangs, or fails the wrong records, this project promises something else.
    for promise in ["S11", "S13", "S15", "S16", "S20", "S21"] {
        assert!(rows.iter().any(|row| row.reason.contains(promise)), "no row differs because of {promise}");
    }
}

#[test]
fn librdkafkas_tests_are_mirrored() {
    let text = document("librdkafka-tests.md");
    let rows = read(&text);
    check("docs/librdkafka-tests.md", &rows);
    let numbers: BTreeSet<_> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers.len(), rows.len(), "each test has one row");
    let missing: Vec<_> = LIBRDKAFKA.iter().filter(|number| !numbers.contains(number)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let mirrored = rows.iter().filter(|row| !row.tests.is_empty()).count();
    assert!(mirrored >= 30, "{mirrored} are mirrored");
    for row in &rows {
        assert_eq!(row.section == "Mirrored", !row.tests.is_empty(), "{:04} stands in the wrong table", row.number);
    }
}
