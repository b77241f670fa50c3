//! One finding: its anomaly, its records, and where they are.

use std::fmt;
use std::sync::Arc;

use crate::anomaly::Anomaly;

/// A place in the log, or one that the producer named.
///
/// ```
/// use aioproducer_history::{History, Log, ProduceCall, check};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// let record = history.produce(Duration::ZERO, ProduceCall::new(1, "orders"));
/// history.delivered(record, Duration::ZERO, 2, None);
/// let verdict = check(&history, &Log::new());
/// let place = &verdict.findings()[0].records()[0].places()[0];
/// assert_eq!((place.topic(), place.partition(), place.offset()), ("orders", 2, None));
/// assert_eq!(place.to_string(), "orders/2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: Option<i64>,
}

impl Place {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset, `None` if the producer named none.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)?;
        self.offset.map_or(Ok(()), |offset| write!(f, "@{offset}"))
    }
}

/// A record that a finding is about.
///
/// ```
/// use aioproducer_history::{History, Log, ProduceCall, check};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// history.produce(Duration::ZERO, ProduceCall::new(55, "orders").payload("order 55"));
/// let verdict = check(&history, &Log::new());
/// let record = &verdict.findings()[0].records()[0];
/// assert_eq!((record.id(), record.topic(), record.text()), (55, "orders", Some("order 55")));
/// assert_eq!(record.to_string(), r#"orders "order 55""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FoundRecord {
    pub(crate) id: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) text: Option<Box<str>>,
    pub(crate) places: Vec<Place>,
}

impl FoundRecord {
    /// The id that its call has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The beginning of its payload, if that was given and is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Where it is in the log, or where the producer says that it is, as far as the finding is about that.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

impl fmt::Display for FoundRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.places.iter().enumerate() {
            write!(f, "{}{place}", if index == 0 { "" } else { ", " })?;
        }
        if self.places.is_empty() {
            f.write_str(&self.topic)?;
        }
        match &self.text {
            Some(text) => write!(f, " {text:?}"),
            None => write!(f, " #{}", self.id),
        }
    }
}

/// Something that a producer or a cluster must not do, found in a history and a log. As text it is one line.
///
/// ```
/// use aioproducer_history::{Anomaly, History, Log, LogEntry, ProduceCall, Status, check};
/// use std::time::Duration;
///
/// let mut history = History::new();
/// let record = history.produce(Duration::ZERO, ProduceCall::new(7, "orders"));
/// history.failed(record, Duration::from_secs(1), Status::NotPersisted);
/// let mut log = Log::new();
/// log.push("orders", 0, 3, LogEntry::record(7));
///
/// let verdict = check(&history, &log);
/// let finding = &verdict.findings()[0];
/// assert_eq!(finding.anomaly(), Anomaly::G1a);
/// assert_eq!(finding.to_string(), "G1a orders/0@3 #7: it failed as not in the log");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    pub(crate) anomaly: Anomaly,
    pub(crate) records: Vec<FoundRecord>,
    pub(crate) detail: String,
}

impl Finding {
    /// What was found.
    #[must_use]
    pub fn anomaly(&self) -> Anomaly {
        self.anomaly
    }

    /// The records. The first one is the one that is wrong; a slot leak has none.
    #[must_use]
    pub fn records(&self) -> &[FoundRecord] {
        &self.records
    }

    /// What the line says after the first record; empty if there is nothing more to say.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.anomaly)?;
        if let Some(record) = self.records.first() {
            write!(f, " {record}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}
