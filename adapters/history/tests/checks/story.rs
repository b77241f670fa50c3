//! Short ways to write a history and a log.

use std::time::Duration;

use aioproducer_history::{
    Allow, Anomaly, History, Log, LogEntry, OperationHandle, ProduceCall, RecordHandle, Status, Verdict, check_with,
};

pub(crate) const TOPIC: &str = "orders";

/// A history and a log, whose clock stands until it is moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) history: History,
    pub(crate) log: Log,
    pub(crate) now: Duration,
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn call(id: u64) -> ProduceCall<'static> {
    ProduceCall::new(id, TOPIC)
}

impl Story {
    /// Moves the clock.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = ms(millis);
        self
    }

    /// A record that is accepted at once.
    pub(crate) fn accept(&mut self, call: ProduceCall<'_>) -> RecordHandle {
        let record = self.history.produce(self.now, call);
        self.history.accepted(record);
        record
    }

    /// A record that is delivered at once.
    pub(crate) fn deliver(&mut self, call: ProduceCall<'_>, partition: i32, offset: impl Into<Option<i64>>) {
        let record = self.accept(call);
        self.history.delivered(record, self.now, partition, offset);
    }

    /// A record that fails at once.
    pub(crate) fn fail(&mut self, call: ProduceCall<'_>, status: Status) -> RecordHandle {
        let record = self.accept(call);
        self.history.failed(record, self.now, status);
        record
    }

    pub(crate) fn returned(&mut self, operation: OperationHandle) {
        self.history.returned(operation, self.now);
    }

    /// Records of partition 0 from offset 0 on.
    pub(crate) fn logged(&mut self, ids: &[u64]) {
        for (offset, id) in (0..).zip(ids) {
            self.log.push(TOPIC, 0, offset, LogEntry::record(*id));
        }
    }

    pub(crate) fn verdict(&self, allow: Allow) -> Verdict {
        check_with(&self.history, &self.log, allow)
    }

    /// Each finding's line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.verdict(Allow::nothing()).findings().iter().map(ToString::to_string).collect()
    }

    /// There is one finding, and this is it.
    #[track_caller]
    pub(crate) fn is(&self, anomaly: Anomaly, line: &str) {
        let verdict = self.verdict(Allow::nothing());
        assert_eq!(self.lines(), [line]);
        assert_eq!((verdict.count(anomaly), verdict.is_right()), (1, false), "{verdict}");
        assert_eq!(verdict.findings()[0].anomaly(), anomaly);
    }

    #[track_caller]
    pub(crate) fn is_right(&self) {
        let verdict = self.verdict(Allow::nothing());
        assert!(verdict.is_right() && verdict.findings().is_empty(), "{verdict}");
    }
}
