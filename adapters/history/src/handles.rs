//! What a history gives its caller for each call, to note what comes of it.

/// A record in a history.
///
/// ```
/// # use aioproducer_history::{History, ProduceCall};
/// # use std::time::Duration;
/// let mut history = History::new();
/// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
/// history.refused(record, Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordHandle(pub(crate) u32);

/// A transaction in a history.
///
/// ```
/// # use aioproducer_history::{History, ProduceCall};
/// # use std::time::Duration;
/// let mut history = History::new();
/// let transaction = history.begin_transaction();
/// history.produce(Duration::ZERO, ProduceCall::new(1, "orders").transaction(transaction));
/// history.aborted(transaction);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionHandle(pub(crate) u32);

/// A flush, purge or close in a history.
///
/// ```
/// # use aioproducer_history::{History, Operation};
/// # use std::time::Duration;
/// let mut history = History::new();
/// let close = history.begin(Duration::ZERO, Operation::Close);
/// history.returned(close, Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationHandle(pub(crate) u32);

impl RecordHandle {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl TransactionHandle {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl OperationHandle {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
