//! What is checked: the anomalies, with their definitions.

use std::fmt;

/// Something that must not be in a history and its log. Each variant has its exact definition, where it comes from, and the smallest
/// history that has it.
///
/// "Jepsen's Kafka workload" is `jepsen.tests.kafka`. Words in it: a *copy* is a record of the log with the id of a call and in its
/// topic; that an outcome is *noted* means that a method of [`History`](crate::History) was called for it.
///
/// ```
/// use aioproducer_history::Anomaly;
///
/// assert_eq!(Anomaly::ALL.len(), 15);
/// assert_eq!(Anomaly::LostAck.to_string(), "LOST ACK");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A record that was delivered is not in the log.
    ///
    /// The outcome is `delivered`, the record is part of no transaction or of one that was committed, and its place was not cut off
    /// ([`Log::begins`](crate::Log::begins)). There is no copy at the offset that was named, or an earlier call names it, too; and
    /// each copy at an offset that no call names is taken by an earlier call.
    ///
    /// Source: `lost-write` of Jepsen's Kafka workload.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.delivered(record, Duration::ZERO, 0, 3);
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::LostAck), 1);
    /// ```
    LostAck,
    /// A record is in the log more often than it can be.
    ///
    /// The topic has more copies of an id than there are calls with that id whose record may be in the log: those that were not
    /// refused, not retracted, and did not fail as not persisted. There is at least one such call. [`Allow`](crate::Allow) can turn
    /// it into a count.
    ///
    /// Source: `duplicate` of Jepsen's Kafka workload.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.delivered(record, Duration::ZERO, 0, 0);
    /// let mut log = Log::new();
    /// log.push("orders", 0, 0, LogEntry::record(1));
    /// log.push("orders", 0, 1, LogEntry::record(1));
    /// assert_eq!(check(&history, &log).count(Anomaly::Duplicate), 1);
    /// ```
    Duplicate,
    /// A record is behind one that was produced later.
    ///
    /// Two records of a topic name the same partition, or name none and have the same key. Both were delivered or persisted. The
    /// one was accepted before the other was called for, and in a partition of the log its first copy is behind the other's first
    /// copy. Calls that overlap have no order, and neither have keyless records that name no partition, or ids with several calls.
    /// [`Allow`](crate::Allow) can turn it into a count.
    ///
    /// Source: `nonmonotonic-send` and `int-nonmonotonic-send` of Jepsen's Kafka workload.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// for (id, offset) in [(1, 1), (2, 0)] {
    ///     let record = history.produce(Duration::ZERO, ProduceCall::new(id, "orders").key("customer-7"));
    ///     history.accepted(record);
    ///     history.delivered(record, Duration::ZERO, 0, offset);
    /// }
    /// let mut log = Log::new();
    /// log.push("orders", 0, 0, LogEntry::record(2));
    /// log.push("orders", 0, 1, LogEntry::record(1));
    /// assert_eq!(check(&history, &log).count(Anomaly::Reordered), 1);
    /// ```
    Reordered,
    /// A record is in the log that the producer says is not.
    ///
    /// Each call with the id was refused, or failed as not persisted, or was retracted, the first one was not retracted, and the
    /// topic has a copy of the id.
    ///
    /// Source: `G1a` of Jepsen's Kafka workload, Adya's phenomenon: a write that failed is seen.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, Status, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.failed(record, Duration::ZERO, Status::NotPersisted);
    /// let mut log = Log::new();
    /// log.push("orders", 0, 0, LogEntry::record(1));
    /// assert_eq!(check(&history, &log).count(Anomaly::G1a), 1);
    /// ```
    G1a,
    /// A record that failed as persisted is not in the log.
    ///
    /// As [`LostAck`](Self::LostAck), of a record whose outcome is a failure with [`Status::Persisted`](crate::Status::Persisted).
    ///
    /// Source: none at Jepsen, whose clients have no such status; a lost acknowledgement of another form.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, ProduceCall, Status, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.failed(record, Duration::ZERO, Status::Persisted);
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::PersistedNotInLog), 1);
    /// ```
    PersistedNotInLog,
    /// A record is in the log, and not where the producer says.
    ///
    /// The record was delivered at an offset that has no copy of it, and there is a copy at one that no call names; or it was
    /// delivered, at no known offset, to a partition that has no copy, and there are others; or it was delivered to another
    /// partition than it names; or it was not delivered, no other call has its id, and all copies are in other partitions than it
    /// names.
    ///
    /// Source: `inconsistent-offsets` of Jepsen's Kafka workload: one offset, two values.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.delivered(record, Duration::ZERO, 0, 4);
    /// let mut log = Log::new();
    /// log.push("orders", 0, 5, LogEntry::record(1));
    /// assert_eq!(check(&history, &log).count(Anomaly::WrongOffset), 1);
    /// ```
    WrongOffset,
    /// A record of a transaction that did not commit is visible.
    ///
    /// The transaction was aborted or did not end. The record may be in the log, and the topic has more copies of its id that are
    /// visible to `read_committed` than there are calls with that id, outside of such transactions, whose record may be in the log.
    ///
    /// Source: `G1a` and `precommitted-read` of Jepsen's Kafka workload, of whole transactions.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let transaction = history.begin_transaction();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders").transaction(transaction));
    /// history.delivered(record, Duration::ZERO, 0, 0);
    /// history.aborted(transaction);
    /// let mut log = Log::new();
    /// log.push("orders", 0, 0, LogEntry::record(1).in_transaction(4001));
    /// log.push("orders", 0, 1, LogEntry::commit(4001));
    /// assert_eq!(check(&history, &log).count(Anomaly::AbortedRead), 1);
    /// ```
    AbortedRead,
    /// A part of a transaction is visible, and a part is not.
    ///
    /// Of a transaction that was committed: a record is in the log and not visible to `read_committed`, or it was accepted, has
    /// failed, and is not in the log. Of one in doubt: a record is visible, and one that was delivered or persisted is not. One
    /// finding for each transaction, with the records that are missing.
    ///
    /// Source: none at Jepsen for Kafka; the atomicity that Kafka promises for transactions.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let transaction = history.begin_transaction();
    /// for partition in [0, 1] {
    ///     let call = ProduceCall::new(partition as u64, "orders").partition(partition).transaction(transaction);
    ///     let record = history.produce(Duration::ZERO, call);
    ///     history.delivered(record, Duration::ZERO, partition, 0);
    /// }
    /// history.in_doubt(transaction);
    /// let mut log = Log::new();
    /// log.push("orders", 0, 0, LogEntry::record(0).committed(true));
    /// log.push("orders", 1, 0, LogEntry::record(1).committed(false));
    /// assert_eq!(check(&history, &log).count(Anomaly::PartialCommit), 1);
    /// ```
    PartialCommit,
    /// A record has more than one outcome.
    ///
    /// Two outcomes of one call were noted, equal or not: delivered, failed, refused, retracted, dropped. The other checks use the
    /// first one. One finding for each outcome after the first.
    ///
    /// Source: none at Jepsen, where each call ends once; the producer's own promise.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, ProduceCall, Status, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.failed(record, Duration::ZERO, Status::NotPersisted);
    /// history.refused(record, Duration::ZERO);
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::SecondOutcome), 1);
    /// ```
    SecondOutcome,
    /// A record has no outcome.
    ///
    /// A call was noted, and until the end of the history no outcome of it. The record may be in the log.
    ///
    /// Source: none at Jepsen, where such a call counts as `info`; the producer's own promise.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::NoOutcome), 1);
    /// ```
    NoOutcome,
    /// A record's bytes are not those that the call gave.
    ///
    /// The call gave a payload, and the record was handed back with another one; or a copy in the log has another payload than
    /// every call with its id.
    ///
    /// Source: none at Jepsen, whose values are their own identity; the producer's own promise.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, ProduceCall, Status, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders").payload("one"));
    /// history.failed(record, Duration::ZERO, Status::NotPersisted);
    /// history.handed_back(record, "two");
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::WrongBytes), 1);
    /// ```
    WrongBytes,
    /// A flush, purge or close returned, and a record had no outcome.
    ///
    /// The call returned as complete. A record that it is about was accepted before it was called, of a close: before it returned.
    /// The record's outcome was noted with a time more than a tick after the return, or not at all. Dropped records do not count.
    /// One finding for each call, with its records.
    ///
    /// Source: none at Jepsen; the producer's own promise.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, Operation, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let mut history = History::new();
    /// let record = history.produce(ms(0), ProduceCall::new(1, "orders"));
    /// history.accepted(record);
    /// let flush = history.begin(ms(1), Operation::Flush);
    /// history.returned(flush, ms(2));
    /// history.delivered(record, ms(3), 0, None);
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::ReturnedEarly), 1);
    /// ```
    ReturnedEarly,
    /// More slots are in use than records can have.
    ///
    /// When the producer said how many slots are in use, there were fewer records that may have one: called for, and without an
    /// outcome that had been noted by then and is at least a tick old; and, until a close has returned, those that failed as
    /// possibly persisted or as persisted, or were dropped, whose slots return later.
    ///
    /// Source: none at Jepsen; the producer's own promise.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// history.slots_in_use(Duration::from_secs(1), 1);
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::SlotLeak), 1);
    /// ```
    SlotLeak,
    /// A record that was taken back is in the log.
    ///
    /// As [`G1a`](Self::G1a), where the first call with the id was retracted.
    ///
    /// Source: none at Jepsen, where nothing is taken back; `G1a` of another form.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new();
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.retracted(record, Duration::ZERO);
    /// let mut log = Log::new();
    /// log.push("orders", 0, 0, LogEntry::record(1));
    /// assert_eq!(check(&history, &log).count(Anomaly::RetractedButWritten), 1);
    /// ```
    RetractedButWritten,
    /// An outcome came after the record's time was over.
    ///
    /// The first outcome, whichever it is, has a time that is more than a tick later than the call's time and the timeout, which is
    /// the record's own or the history's. Dropped records have no outcome that is late.
    ///
    /// Source: none at Jepsen; the producer's own promise.
    ///
    /// ```
    /// use aioproducer_history::{Anomaly, History, Log, ProduceCall, Status, check};
    /// use std::time::Duration;
    ///
    /// let mut history = History::new().delivery_timeout(Duration::from_secs(10)).tick(Duration::from_millis(1));
    /// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
    /// history.failed(record, Duration::from_secs(11), Status::PossiblyPersisted);
    /// assert_eq!(check(&history, &Log::new()).count(Anomaly::LateTimeout), 1);
    /// ```
    LateTimeout,
}

impl Anomaly {
    /// Every anomaly, in the order in which findings are listed.
    pub const ALL: [Self; 15] = [
        Self::LostAck,
        Self::Duplicate,
        Self::Reordered,
        Self::G1a,
        Self::PersistedNotInLog,
        Self::WrongOffset,
        Self::AbortedRead,
        Self::PartialCommit,
        Self::SecondOutcome,
        Self::NoOutcome,
        Self::WrongBytes,
        Self::ReturnedEarly,
        Self::SlotLeak,
        Self::RetractedButWritten,
        Self::LateTimeout,
    ];
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LostAck => "LOST ACK",
            Self::Duplicate => "DUPLICATE",
            Self::Reordered => "REORDERED",
            Self::G1a => "G1a",
            Self::PersistedNotInLog => "PERSISTED, NOT IN THE LOG",
            Self::WrongOffset => "WRONG OFFSET",
            Self::AbortedRead => "ABORTED READ",
            Self::PartialCommit => "PARTIAL COMMIT",
            Self::SecondOutcome => "SECOND OUTCOME",
            Self::NoOutcome => "NO OUTCOME",
            Self::WrongBytes => "WRONG BYTES",
            Self::ReturnedEarly => "RETURNED EARLY",
            Self::SlotLeak => "SLOT LEAK",
            Self::RetractedButWritten => "RETRACTED, BUT WRITTEN",
            Self::LateTimeout => "LATE TIMEOUT",
        })
    }
}
