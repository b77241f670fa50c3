//! What a failure needs: the fewest kinds of faults, and of these the fewest faults.

use std::collections::BTreeSet;

use super::case::Case;
use super::judge::{Judged, Run, once};
use super::plan::Plan;
use crate::cluster::FaultKind;

/// A failure, reduced.
pub(super) struct Reduced {
    pub(super) kinds: BTreeSet<FaultKind>,
    /// How many faults happen, and how many the seed draws with these kinds.
    pub(super) faults: (u64, u64),
    /// The run with them.
    pub(super) judged: Judged,
}

/// Reduces a failure: each kind of faults is left out once, then faults at the end, then faults at the begin. What is left still fails
/// in the same way.
pub(super) fn reduce<F: Future<Output = ()>>(
    plan: &Plan,
    seed: u64,
    failed: Judged,
    scenario: &impl Fn(Case) -> F,
) -> Reduced {
    let failure = failed.failure.clone().unwrap_or_default();
    let fails = |run: &Run<'_>| {
        let again = once(run, false, scenario);
        again.failure.as_deref().is_some_and(|again| class(again) == class(&failure)).then_some(again)
    };
    let (mut run, mut judged) = (Run { quiet: true, ..Run::of(plan, seed) }, failed);
    for kind in plan.kinds() {
        let mut fewer = run.clone();
        fewer.kinds.remove(kind);
        if let Some(again) = fails(&fewer) {
            (run, judged) = (fewer, again);
        }
    }
    let all = judged.drawn;
    run.faults = 0..all;
    // How many from the begin on are enough.
    let (mut too_few, mut enough) = (0, all);
    if let Some(none) = fails(&Run { faults: 0..0, ..run.clone() }) {
        (enough, run.faults, judged) = (0, 0..0, none);
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        match fails(&Run { faults: 0..middle, ..run.clone() }) {
            Some(again) => (enough, run.faults, judged) = (middle, 0..middle, again),
            None => too_few = middle,
        }
    }
    // How many at the begin need not happen.
    let (mut unneeded, mut needed) = (0, enough);
    while needed - unneeded > 1 {
        let middle = unneeded + (needed - unneeded) / 2;
        match fails(&Run { faults: middle..enough, ..run.clone() }) {
            Some(again) => (unneeded, run.faults, judged) = (middle, middle..enough, again),
            None => needed = middle,
        }
    }
    Reduced { faults: (run.faults.end - run.faults.start, all), kinds: run.kinds, judged }
}

/// What kind of failure it is: the words in capitals at its begin.
fn class(failure: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in failure.split(' ') {
        let name = word.trim_end_matches([':', ',']);
        let is_name = name == "G1a" || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase()));
        if is_name {
            words.push(name);
        }
        if !is_name || word.ends_with(':') {
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_class() {
        for (failure, expected) in [
            ("LOST ACK orders/2@17 \"order 55\"", "LOST ACK"),
            ("NOT ALWAYS: A B is left", "NOT ALWAYS"),
            ("G1a t/0@1 #5: it failed", "G1a"),
            ("RETRACTED, BUT WRITTEN t/0@1 #5", "RETRACTED BUT WRITTEN"),
            ("STUCK: seed 5", "STUCK"),
        ] {
            assert_eq!(class(failure).join(" "), expected);
        }
    }
}
