//! What becomes of a request: as it should, or as a test says.

use std::panic::Location;
use std::time::Duration;

use aioproducer_core::backend::{ErrorCode, FailureKind};

use crate::sync::Arc;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is appended and answered.
    Normal,
    /// The broker answers with an error, and appends only what that error says is appended.
    Answer(ErrorCode),
    /// The connection breaks before the broker reads it.
    LoseRequest,
    /// It is appended, and the connection breaks before the answer.
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

/// The requests that a fault is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: Option<i32>,
}

impl Scope {
    fn has(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_deref().is_none_or(|own| own == topic) && self.partition.is_none_or(|own| own == partition)
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
    pub(crate) fn draw(&mut self, topic: &str, partition: i32) -> Fate {
        let is_for =
            |rule: &&mut Rule| rule.scope.has(topic, partition) && rule.times.is_none_or(|times| rule.hits < times);
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
            let scope = match (&scope.topic, scope.partition) {
                (None, _) => "any topic".to_owned(),
                (Some(topic), None) => topic.to_string(),
                (Some(topic), Some(partition)) => format!("{topic}/{partition}"),
            };
            let times = times.map_or_else(String::new, |times| format!(" of {times} times"));
            format!("the fault of {defined_at} ({scope}: {}) was hit {hits}{times}", rule.fate.name())
        };
        let lines: Vec<_> = self.0.iter().filter(is_unhit).map(line).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}
