//! Instructions per record of the state machine alone, counted by callgrind and held against the budgets in
//! `benches/instructions.toml`.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin instructions
//! ```
//!
//! Each case runs twice in a process of its own, the second time with twice the records: the difference is what the
//! records cost, without start and warm-up. What any caller spends on making, keeping and reading records is
//! counted without a machine and subtracted; the column `in all` still has it. The exit code is 1 if anything is
//! above its budget.

use std::collections::BTreeMap;
use std::env;
use std::process::{Command, ExitCode};

use aioproducer_benches::broker::Failure;
use aioproducer_benches::workload::{CASES, Case, Workload};

/// Records that are counted, enough to come round all lanes.
const RECORDS: usize = 20_000;

/// The work of a caller, without a machine.
const CALLER: &str = "caller";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [name, records] = arguments.as_slice() {
        match name.as_str() {
            CALLER => Workload::warm(CASES[0]).run_without_machine(records.parse()?),
            name => Workload::warm(named(name)?).run(records.parse()?),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED instructions: there is no valgrind");
        return Ok(ExitCode::SUCCESS);
    }
    let budgets = parse(&std::fs::read_to_string(FILE)?)?;
    let mut measured = BTreeMap::new();
    let mut over = Vec::new();
    let caller = per_record(CALLER)?;
    println!("instructions per record; a caller's own, {caller:.2}, are in the first column only\n");
    println!("{:<40} {:>9} {:>9} {:>9}", "case", "in all", "machine", "budget");
    for case in CASES {
        let in_all = per_record(case.name)?;
        let machine = in_all - caller;
        measured.insert(case.name, machine);
        let budget = budgets.iter().find(|(name, _)| name == case.name);
        let (_, budget) = budget.ok_or_else(|| format!("{FILE}: no budget for {}", case.name))?;
        over.extend(show(case.name, &format!("{in_all:.2}"), machine, *budget));
    }
    for (name, budget) in &budgets {
        if let Some((above, below)) = name.split_once(" / ") {
            let of = |name| measured.get(name).ok_or_else(|| format!("{FILE}: there is no case {name}"));
            over.extend(show(name, "", of(above)? / of(below)?, *budget));
        } else {
            named(name)?;
        }
    }
    match over.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        over => {
            println!("FAIL above budget: {}", over.join(", "));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn named(name: &str) -> Result<Case, Failure> {
    let case = CASES.into_iter().find(|case| case.name == name);
    case.ok_or_else(|| format!("there is no case {name}").into())
}

/// Prints a line; the name, if it is above its budget.
fn show<'a>(name: &'a str, in_all: &str, machine: f64, budget: f64) -> Option<&'a str> {
    let over = machine > budget;
    println!("{name:<40} {in_all:>9} {machine:>9.2} {budget:>9.2}{}", if over { "  over" } else { "" });
    over.then_some(name)
}

/// Lines of `name = number`; a name may be quoted, and `#` begins a comment.
fn parse(text: &str) -> Result<Vec<(String, f64)>, Failure> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let budget = |line: &str| -> Result<(String, f64), Failure> {
        let (name, number) = line.split_once('=').ok_or_else(|| format!("{FILE}: {line}"))?;
        Ok((name.trim().trim_matches('"').to_owned(), number.trim().parse()?))
    };
    lines.filter(|line| !line.is_empty()).map(budget).collect()
}

fn per_record(name: &str) -> Result<f64, Failure> {
    Ok((counted(name, 2 * RECORDS)? - counted(name, RECORDS)?) as f64 / RECORDS as f64)
}

/// Instructions of a whole process that brings `records` through a case.
fn counted(name: &str, records: usize) -> Result<u64, Failure> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = command.arg(env::current_exe()?).args([name, &records.to_string()]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    match collected {
        Some((_, count)) if output.status.success() => Ok(count.trim().parse()?),
        _ => Err(format!("{name}: {said}").into()),
    }
}
