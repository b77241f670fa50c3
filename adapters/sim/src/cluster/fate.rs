//! What becomes of a request: as it should, or as a test says.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use aioproducer_core::backend::{ErrorCode, FailureKind};

use crate::sync::Arc;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is carried out and answered.
    Normal,
    /// The broker answers with an error, and appends only what that error says is appended.
    Answer(ErrorCode),
    /// The connection breaks before the broker reads it.
    LoseRequest,
    /// It is carried out, and the connection breaks before the answer.
    LoseAnswer,
    /// It takes longer.
    Delay(Duration),
    /// The client fails the record, and sends nothing.
    Refuse(FailureKind),
}

impl Fate {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "none",
            Self::Answer(_) => "the answer is an error",
            Self::LoseRequest => "the request is lost",
            Self::LoseAnswer => "the answer is lost",
            Self::Delay(_) => "a delay",
            Self::Refuse(_) => "the record is refused",
        }
    }
}

/// What a request to a coordinator asks for, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    InitProducerId,
    TxnOffsetCommit,
    EndTxn,
}

impl Api {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InitProducerId => "InitProducerId",
            Self::TxnOffsetCommit => "TxnOffsetCommit",
            Self::EndTxn => "EndTxn",
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// To the leader of a partition, with records.
    Partition(Arc<str>, i32),
    /// To the coordinator of a transactional id.
    Coordinator(Api, Arc<str>),
}

/// The requests that a fault is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Produce { topic: Option<Arc<str>>, partition: Option<i32> },
    Coordinator(Api),
}

impl Scope {
    fn has(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::Produce { topic, partition }, Target::Partition(of_topic, number)) => {
                topic.as_ref().is_none_or(|own| own == of_topic) && partition.is_none_or(|own| own == *number)
            }
            (Self::Coordinator(own), Target::Coordinator(api, _)) => own == api,
            _ => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Produce { topic: None, .. } => f.write_str("any topic"),
            Self::Produce { topic: Some(topic), partition: None } => f.write_str(topic),
            Self::Produce { topic: Some(topic), partition: Some(partition) } => write!(f, "{topic}/{partition}"),
            Self::Coordinator(api) => f.write_str(api.name()),
        }
    }
}

/// A scripted fault.
pub(crate) struct Rule {
    pub(crate) scope: Scope,
    pub(crate) fate: Fate,
    /// How often it is to be hit; `None` for each request.
    pub(crate) times: Option<u64>,
    pub(crate) hits: u64,
    pub(crate) defined_at: &'static Location<'static>,
}

/// The scripted faults of a cluster, in the order of their definition.
#[derive(Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// Adds a rule; returns its number.
    pub(crate) fn add(&mut self, rule: Rule) -> usize {
        self.0.push(rule);
        self.0.len() - 1
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn hits(&self, number: usize) -> u64 {
        self.0.get(number).map_or(0, |rule| rule.hits)
    }

    /// The fate of a request: the first rule that is for it and not used up says it.
    pub(crate) fn draw(&mut self, target: &Target) -> Fate {
        let is_for = |rule: &&mut Rule| rule.scope.has(target) && rule.times.is_none_or(|times| rule.hits < times);
        match self.0.iter_mut().find(is_for) {
            Some(rule) => {
                rule.hits += 1;
                rule.fate
            }
            None => Fate::Normal,
        }
    }

    /// The faults that were not hit as often as they should, in words and with their places; `None` if there are none.
    pub(crate) fn unhit(&self) -> Option<String> {
        let is_unhit = |rule: &&Rule| rule.hits < rule.times.unwrap_or(1);
        let line = |rule: &Rule| {
            let Rule { scope, hits, times, defined_at, .. } = rule;
            let times = times.map_or_else(String::new, |times| format!(" of {times} times"));
            format!("the fault of {defined_at} ({scope}: {}) was hit {hits}{times}", rule.fate.name())
        };
        let lines: Vec<_> = self.0.iter().filter(is_unhit).map(line).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}
