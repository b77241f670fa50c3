//! `docs/mistakes.md`: each mistake with its code and its message.

use std::fmt::Write;

use super::table::{Chapter, Mistake, When};

pub(crate) fn head() -> String {
    String::from(
        "# Mistakes and their messages\n\n\
         Written by `WRITE_DOCS=1 cargo test -p aioproducer-tests --test broker mistakes`, which makes each mistake and fails when a\n\
         message is not the one that stands here. Messages are those of a build with the default features. At start, nothing is\n\
         left running; at produce, the record is handed back at once; at delivery, the record was accepted before.\n",
    )
}

pub(crate) fn chapter(page: &mut String, chapter: &Chapter) {
    let _ = writeln!(page, "\n## {}", chapter.title);
}

pub(crate) fn section(page: &mut String, chapter: &Chapter, mistake: &Mistake, when: When, message: &str) {
    let when = match when {
        When::Start => "At start",
        When::Produce => "At produce",
        When::Delivery => "At delivery",
    };
    let code = body(chapter.source, mistake.code);
    let _ = write!(page, "\n### {}\n\n```rust\n{code}```\n\n{when}:\n\n> {message}\n", mistake.title);
}

/// The lines of a function's body, each without the function's indentation.
fn body(source: &str, function: &str) -> String {
    let head = format!("fn {function}(");
    let lines = source.lines().skip_while(|line| !line.contains(&head)).skip(1);
    let lines: Vec<_> = lines.take_while(|line| *line != "}").collect();
    assert!(!lines.is_empty(), "there is no function {function}");
    lines.iter().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}
