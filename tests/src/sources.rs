//! The tests of this workspace, read from its sources, for tables that name tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A test function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The file, from the workspace's folder.
    pub file: String,
    /// The function.
    pub name: String,
    /// Whether it runs on all four executors.
    pub on_executors: bool,
    /// Whether it needs a real broker, without which it is ignored.
    pub on_kafka: bool,
}

impl Test {
    /// The promise that it shows: 7 of `s07_send`.
    #[must_use]
    pub fn promise(&self) -> Option<u32> {
        let (number, _) = self.name.strip_prefix('s')?.split_once('_')?;
        if number.len() == 2 { number.parse().ok() } else { None }
    }
}

/// The workspace's folder.
///
/// # Panics
/// Never: this package is in a workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Checks that a page under version control equals `expected`. With `WRITE_DOCS` in the environment it writes the page.
///
/// # Panics
/// When it differs. The message has the first difference and the command that writes the page.
pub fn assert_page(path: &str, expected: &str, test: &str) {
    let place = root().join(path);
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&place, expected).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let found = fs::read_to_string(&place).unwrap_or_default();
    let differs = (1..).zip(found.lines().zip(expected.lines())).find(|(_, (found, expected))| found != expected);
    assert!(
        found == expected,
        "{path} differs from what the sources say, first here: {differs:?}. \
         WRITE_DOCS=1 cargo test -p aioproducer-tests --test {test} writes it"
    );
}

/// All tests of all packages, by file and name.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut found = BTreeSet::new();
    for folder in ["adapters", "aioproducer", "benches", "core", "rdkafka-backend", "tests"] {
        visit(&root().join(folder), &mut found);
    }
    found.into_iter().collect()
}

fn visit(folder: &Path, found: &mut BTreeSet<Test>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "target" {
                visit(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&path).unwrap_or_default();
            found.extend(in_source(&text).into_iter().map(|test| Test { file: file.clone(), ..test }));
        }
    }
}

/// The tests in a source: functions with `#[test]`, and the lists of `promises!` and `promises_on_kafka!`. Their `file` is empty.
fn in_source(text: &str) -> Vec<Test> {
    let test = |name: &str, on_executors, on_kafka| {
        let name = name.to_owned();
        Test { file: String::new(), name, on_executors, on_kafka }
    };
    let (mut found, mut marked, mut ignored, mut listed) = (Vec::new(), false, false, None);
    for line in text.lines().map(str::trim) {
        if let Some(on_kafka) = listed {
            let names = line.trim_end_matches('}').split(',').map(str::trim).filter(|name| is_name(name));
            found.extend(names.map(|name| test(name, true, on_kafka)));
            listed = listed.filter(|_| !line.ends_with('}'));
        } else if line == "promises! {" {
            listed = Some(false);
        } else if line == "promises_on_kafka! {" {
            listed = Some(true);
        } else if line == "#[test]" {
            (marked, ignored) = (true, false);
        } else if line.starts_with("#[ignore = \"needs a Kafka broker") {
            ignored = true;
        } else if marked && !line.starts_with("#[") && !line.starts_with("//") {
            found.extend(function(line).map(|name| test(name, false, ignored)));
            marked = false;
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let name = rest.split(['(', '<']).next()?;
    (["", "async "].contains(&before) && is_name(name)).then_some(name)
}

/// The rows of the tables in a Markdown text, each with the heading above it and its cells.
///
/// Heads and rules of the tables are left out.
#[must_use]
pub fn rows(markdown: &str) -> Vec<(&str, Vec<&str>)> {
    let (mut heading, mut rows, mut in_table) = ("", Vec::new(), false);
    for line in markdown.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.trim();
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            in_table = false;
            continue;
        };
        let cells: Vec<_> = cells.split('|').map(str::trim).collect();
        let is_rule = cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| "-: ".contains(c)));
        if is_rule {
            // The line above was the table's head.
            in_table = true;
        } else if in_table {
            rows.push((heading, cells));
        }
    }
    rows
}

/// The texts in backticks in a cell.
pub fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_in_sources() {
        let found = |text: &str| -> Vec<_> {
            let tests = in_source(text).into_iter();
            tests.map(|test| (test.name, test.on_executors, test.on_kafka)).collect()
        };
        let test = |name: &str, on_executors, on_kafka| (name.to_owned(), on_executors, on_kafka);
        let text = "promises! {\n    s01_waits,\n    s02_full,\n}\n\n#[test]\n#[should_panic]\nfn s14_a_batch() {}\n\
                    fn helper() {}\nasync fn s01_waits(host: Host) {}\n    #[test]\n    // why\n    fn plain<E>() {}\n\
                    // fn s31_ends\n";
        let expected = [("s01_waits", true), ("s02_full", true), ("s14_a_batch", false), ("plain", false)];
        assert_eq!(found(text), expected.map(|(name, on_executors)| test(name, on_executors, false)));
        let text = "promises! {\n a, b }\n#[test]\nfn c() {}";
        assert_eq!(found(text), [test("a", true, false), test("b", true, false), test("c", false, false)]);
        let text = "promises_on_kafka! {\n    a,\n}\n#[test]\n#[ignore = \"needs a Kafka broker: there\"]\nfn b() {}\n\
                    #[test]\n#[ignore = \"for now\"]\nfn c() {}";
        assert_eq!(found(text), [test("a", true, true), test("b", false, true), test("c", false, false)]);
    }

    #[test]
    fn names_carry_promises() {
        let promise = |name: &str| in_source(&format!("#[test]\nfn {name}() {{}}"))[0].promise();
        assert_eq!((promise("s14_a_batch"), promise("s01_s05_both")), (Some(14), Some(1)));
        assert_eq!((promise("settle"), promise("s1_x"), promise("sum_of_all")), (None, None, None));
    }

    #[test]
    fn tables_are_read_row_by_row() {
        let text = "## One (2)\n| a | b |\n| --- | :-- |\n| 1 | `x`, `y_z` |\n| 2 | – |\n\ntext\n\n## Two\n| c |\n|---|\n| 3 |\n";
        let rows = rows(text);
        assert_eq!(rows, [("One (2)", vec!["1", "`x`, `y_z`"]), ("One (2)", vec!["2", "–"]), ("Two", vec!["3"])]);
        assert_eq!(quoted(rows[0].1[1]).collect::<Vec<_>>(), ["x", "y_z"]);
    }
}
