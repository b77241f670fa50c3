//! The answer of a check.

use std::fmt;

use crate::anomaly::Anomaly;
use crate::finding::Finding;

/// Findings of one anomaly that are kept; all of them are counted.
const KEPT: usize = 1_000;

/// What a history and a log have, in records: what is no finding.
///
/// ```
/// use aioproducer_history::{History, Log, ProduceCall, Status, check};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
/// history.failed(record, Duration::ZERO, Status::PossiblyPersisted);
/// let verdict = check(&history, &Log::new());
/// assert_eq!((verdict.counts().calls, verdict.counts().possibly_persisted), (1, 1));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that produce a record.
    pub calls: usize,
    /// Delivered, as the producer says.
    pub delivered: usize,
    /// Failed, and not in the log, as the producer says.
    pub not_persisted: usize,
    /// Failed, and possibly in the log.
    pub possibly_persisted: usize,
    /// Failed, and in the log.
    pub persisted: usize,
    /// Not accepted.
    pub refused: usize,
    /// Taken back.
    pub retracted: usize,
    /// Whose outcome the caller did not wait for.
    pub dropped: usize,
    /// Records of the log, markers aside.
    pub log: usize,
    /// Records of the log whose id no call has.
    pub unknown: usize,
    /// Possibly persisted, and in the log.
    pub written_in_doubt: usize,
    /// Delivered, and deleted by the cluster since, or possibly so: they are not looked for.
    pub cut_off: usize,
    /// Delivered or persisted, more than once in the log, and allowed.
    pub duplicates: usize,
    /// Neither delivered nor persisted, more than once in the log, and allowed.
    pub duplicates_in_doubt: usize,
    /// Out of order, and allowed.
    pub reordered: usize,
}

impl Counts {
    /// Accepted and failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.not_persisted + self.possibly_persisted + self.persisted
    }
}

/// The answer of a check: what was found, and how much there was.
///
/// As text it has a line for each finding, and one with the counts.
///
/// ```
/// use aioproducer_history::{Anomaly, History, Log, ProduceCall, check};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
/// let verdict = check(&history, &Log::new());
/// assert!(!verdict.is_right());
/// assert_eq!(verdict.count(Anomaly::NoOutcome), 1);
/// assert!(verdict.to_string().starts_with("NO OUTCOME orders #1\n"));
/// ```
#[must_use = "it says whether the history is right"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
    found: [usize; Anomaly::ALL.len()],
    pub(crate) counts: Counts,
}

impl Verdict {
    /// Whether there is no finding.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.found.iter().all(|count| *count == 0)
    }

    /// The findings, by anomaly, and within each in the order of the history. Of each anomaly the first 1,000 are kept.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings of an anomaly there are, those that were not kept included.
    #[must_use]
    pub fn count(&self, anomaly: Anomaly) -> usize {
        self.found[anomaly as usize]
    }

    /// What is no finding.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Counts a finding, and makes and keeps it if there are few of its kind.
    pub(crate) fn add(&mut self, anomaly: Anomaly, finding: impl FnOnce() -> Finding) {
        let count = &mut self.found[anomaly as usize];
        *count += 1;
        if *count <= KEPT {
            self.findings.push(finding());
        }
    }

    pub(crate) fn sorted(mut self) -> Self {
        self.findings.sort_by_key(Finding::anomaly);
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        for anomaly in Anomaly::ALL {
            let more = self.count(anomaly).saturating_sub(KEPT);
            if more > 0 {
                writeln!(f, "{anomaly}: {more} more")?;
            }
        }
        let Counts { calls, delivered, refused, retracted, dropped, log, unknown, .. } = self.counts;
        write!(
            f,
            "{calls} calls: {delivered} delivered, {} failed, {refused} refused, {retracted} retracted, {dropped} dropped; \
             {log} records in the log, {unknown} of them unknown",
            self.counts.failed()
        )
    }
}
