//! What a cluster or a configuration does not promise.

/// What is counted and no finding, because it was not promised.
///
/// ```
/// use aioproducer_history::{Allow, History, Log, LogEntry, ProduceCall, check_with};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
/// history.delivered(record, Duration::ZERO, 0, 0);
/// let mut log = Log::new();
/// log.push("orders", 0, 0, LogEntry::record(1));
/// log.push("orders", 0, 1, LogEntry::record(1));
///
/// assert!(!check_with(&history, &log, Allow::nothing()).is_right());
/// let verdict = check_with(&history, &log, Allow::nothing().duplicates());
/// assert!(verdict.is_right());
/// assert_eq!(verdict.counts().duplicates, 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it is for `check_with`"]
pub struct Allow {
    pub(crate) duplicates: bool,
    pub(crate) duplicates_in_doubt: bool,
    pub(crate) reordered: bool,
}

impl Allow {
    /// Nothing: all that an idempotent producer promises is checked.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Records may be in the log more than once, whatever was said of them: the producer is not idempotent, or the cluster does not look
    /// at sequence numbers, as librdkafka's mock cluster does not.
    pub fn duplicates(mut self) -> Self {
        self.duplicates = true;
        self
    }

    /// Records that the producer does not call delivered or persisted may be in the log more than once.
    pub fn duplicates_in_doubt(mut self) -> Self {
        self.duplicates_in_doubt = true;
        self
    }

    /// Records may be out of order: a producer that is not idempotent retries, and has several requests in flight.
    pub fn reordered(mut self) -> Self {
        self.reordered = true;
        self
    }
}
