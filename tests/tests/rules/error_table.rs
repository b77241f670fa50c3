//! S44: `docs/errors.md` has every error of the producer, of brokers and of librdkafka, and what to do with the record.
//!
//! The page is written by `WRITE_DOCS=1 cargo test -p aioproducer-tests --test rules error_table`.

use std::fmt::Write;

use aioproducer_driver::Record;
use aioproducer_driver::error::{
    Advice, ErrorCode, Failure, FailureKind, ProduceError, RecordError, Status, TopicError,
};
use aioproducer_tests::sources::assert_page;

/// What an application gets, and how it reads the tables.
const INTRODUCTION: &str = "# What to do with an error\n\n\
    Written by `WRITE_DOCS=1 cargo test -p aioproducer-tests --test rules error_table` from the code that decides it; the same\n\
    test fails when this file is not what it would write.\n\n\
    `DeliveryError`, `SendError` and `ProduceError` have `advice()`, which says what to do with the record. It follows from\n\
    the error's `status()`, `kind()` and `code()`. **Sending a record again is free of duplicates only if its status is\n\
    `NotPersisted`**: `Resend` and `ResendAfter` are given to such records only.\n\n";

/// What stands between the advice and the tables.
const RETRIABLE: &str = "\nIn a transaction a failed record decides nothing by itself: the transaction can only be aborted, and its\n\
    `TransactionError::remedy()` says so.\n\n\
    `is_retriable()` is the short form: true of `Resend`, and of `ResendAfter` if the cause may pass without anyone's doing. It\n\
    is false of `ResendAfter` if somebody has to mend a login, a certificate, a permission or a broker first. A record with\n\
    another advice is never retriable.\n";

fn advice(kind: FailureKind, code: Option<ErrorCode>, status: Status) -> Advice {
    Failure::new(kind, status, code, "").advice()
}

/// The cells of the advice for each status, and whether to try again later.
fn cells(kind: FailureKind, code: Option<ErrorCode>) -> String {
    let advices: Vec<_> = Status::all().map(|status| format!("`{:?}`", advice(kind, code, status))).collect();
    let retriable = Failure::new(kind, Status::NotPersisted, code, "").is_retriable();
    format!("{} | {}", advices.join(" | "), if retriable { "yes" } else { "–" })
}

fn head(columns: &str, texts: &str) -> String {
    let statuses: Vec<_> = Status::all().map(|status| format!("`{status:?}`")).collect();
    let rules = "--- | ".repeat(columns.matches('|').count() + statuses.len() + 1);
    format!(
        "| {columns} | {} | retriable |{texts}\n| {rules}--- |{}\n",
        statuses.join(" | "),
        " --- |".repeat(texts.matches('|').count())
    )
}

fn every_refusal() -> Vec<ProduceError<'static>> {
    let record = || Record::to("t");
    vec![
        ProduceError::Full(record()),
        ProduceError::PartitionFull { record: record(), partition: Some(3) },
        ProduceError::TimedOut(record()),
        ProduceError::Closed(record()),
        ProduceError::RuntimeEnded(record()),
        ProduceError::Fatal { record: record(), reason: "fenced" },
        ProduceError::OutsideTransaction(record()),
        ProduceError::TransactionOver(record()),
        ProduceError::ReportsDropped(record()),
        ProduceError::TooLarge { record: record(), size: 9, overhead: 2, limit: 10, setting: None },
        ProduceError::AbovePool { record: record(), cost: 20, limit: 10 },
        ProduceError::Topic { record: record(), error: TopicError::Empty },
        ProduceError::Invalid { record: record(), error: RecordError::NegativePartition { partition: -3 } },
    ]
}

/// The name of a variant.
fn name(error: &ProduceError<'_>) -> String {
    let text = format!("{error:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("| advice | what to do |\n| --- | --- |\n");
    for advice in Advice::all() {
        let _ = writeln!(text, "| `{advice:?}` | {advice} |");
    }
    text.push_str(RETRIABLE);
    let _ = write!(
        text,
        "\n## Errors of brokers and of librdkafka\n\n\
         By `code()`. A code without a row, of a broker that is newer than this table, has the advice of `Broker` in the next\n\
         table.\n\n{}",
        head("code | number", " description |")
    );
    for code in ErrorCode::all().filter(|code| *code != ErrorCode::NoError) {
        let (name, description) = (code.name().unwrap_or_default(), code.description().unwrap_or_default());
        let cells = cells(FailureKind::Broker, Some(code));
        let _ = writeln!(text, "| `{name}` | {} | {cells} | {description} |", code.number());
    }
    let _ = write!(
        text,
        "\n## Failures by kind\n\n\
         By `kind()`. Without a code the producer itself failed the record. With one, the kind goes before it: a record that timed\n\
         out while every broker refused the login is of the kind `Authentication`. The exception is `UnknownTopic`: it is\n\
         `FixRecord` with `TopicException` and with `LocalUnknownTopic`, by which librdkafka has waited for the topic in vain.\n\n{}",
        head("kind", "")
    );
    for kind in FailureKind::all() {
        let _ = writeln!(text, "| `{kind:?}` | {} |", cells(kind, None));
    }
    text.push_str(
        "\n## Records that were not accepted\n\n\
         `ProduceError`. Such a record is never in the log.\n\n| error | advice | retriable |\n| --- | --- | --- |\n",
    );
    for error in every_refusal() {
        let retriable = if error.is_retriable() { "yes" } else { "–" };
        let _ = writeln!(text, "| `{}` | `{:?}` | {retriable} |", name(&error), error.advice());
    }
    text
}

#[test]
fn s44_the_table_of_errors_is_what_the_code_says() {
    assert_page("docs/errors.md", &document(), "rules error_table");
}

#[test]
fn s44_each_advice_and_each_code_is_in_the_table() {
    let text = document();
    let rows = aioproducer_tests::sources::rows(&text);
    let codes = ErrorCode::all().count() - 1;
    let listed = rows.iter().filter(|(heading, _)| *heading == "Errors of brokers and of librdkafka").count();
    assert_eq!(listed, codes, "a description with a bar would break its row");
    for advice in Advice::all() {
        let cell = format!("`{advice:?}`");
        let uses = rows.iter().filter(|(_, cells)| cells[1..].contains(&cell.as_str())).count();
        assert!(uses > 0, "no error has the advice {cell}");
    }
    assert!(rows.iter().all(|(_, cells)| cells.iter().all(|cell| !cell.is_empty())), "an empty cell");
}
