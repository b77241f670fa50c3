//! What a check that fails says, and the trace that it leaves.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::plan::Plan;
use super::reduce::Reduced;
use crate::cluster::Trace;

const TRACE_DIR: &str = "AIOPRODUCER_SIM_TRACE_DIR";

/// The lines about a seed that fails in the test with that name.
pub(super) fn message(plan: &Plan, test: &str, seed: u64, failure: &str, reduced: &Reduced) -> String {
    let others = plan.kinds().len() - reduced.kinds.len();
    let names: Vec<_> = reduced.kinds.iter().map(ToString::to_string).collect();
    let needs = match (names.len(), reduced.faults) {
        _ if failure.starts_with("NOT DETERMINISTIC") => "not reduced, as runs differ".to_owned(),
        (0, _) | (_, (0, _)) => format!("needs no fault ({others} other kinds not needed)"),
        (_, (1, all)) => format!("needs {} ({others} other kinds not needed): 1 fault of {all}", names.join(" + ")),
        (_, (some, all)) => {
            format!("needs {} ({others} other kinds not needed): {some} faults of {all}", names.join(" + "))
        }
    };
    let text = format!("seed {seed}: {failure}\n  {needs}\n");
    let trace = match leave(&folder(), test, seed, &text, &reduced.judged.trace) {
        Ok(path) => path.display().to_string(),
        Err(error) => format!("not written: {error}; {TRACE_DIR} names another folder"),
    };
    format!("{text}  trace: {trace}\n  repeat: AIOPRODUCER_SIM_SEED={seed} cargo test {test} -- --nocapture")
}

/// Where traces go: the folder that the environment names, or one in cargo's `target`, in which the test's program is.
fn folder() -> PathBuf {
    if let Some(folder) = env::var_os(TRACE_DIR) {
        return PathBuf::from(folder);
    }
    let program = env::current_exe().unwrap_or_default();
    let deps = program.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps"));
    let target = deps.and_then(|deps| deps.parent()?.parent()).map_or_else(env::temp_dir, Path::to_path_buf);
    target.join("aioproducer-sim")
}

/// Writes a trace, with what failed before it.
fn leave(folder: &Path, test: &str, seed: u64, text: &str, trace: &Trace) -> io::Result<PathBuf> {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let test: String = test.chars().map(plain).collect();
    let path = folder.join(format!("{}{seed}.trace", if test.is_empty() { test } else { test + "-" }));
    fs::create_dir_all(folder)?;
    let head: String = text.lines().map(|line| format!("# {line}\n")).collect();
    fs::write(&path, format!("{head}# hash {:016x}\n{trace}", trace.hash()))?;
    Ok(path)
}
