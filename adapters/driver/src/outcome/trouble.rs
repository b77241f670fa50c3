//! Troubles that the backend reports, such as brokers that are away: the cause of the timeouts that follow.

use std::sync::Arc;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Failure, FailureKind, Trouble};

use crate::runtime::sync::{Mutex, lock};

/// What is known about a failure.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    pub(crate) cause: Option<Arc<str>>,
    pub(crate) timed_out: bool,
}

/// The most topics whose own trouble is remembered. All others share the general one.
const TOPICS: usize = 64;

#[derive(Default)]
pub(crate) struct Troubles(Mutex<Known>);

#[derive(Default)]
struct Known {
    general: Option<Trouble>,
    topics: Vec<(TopicId, Trouble)>,
}

impl Troubles {
    /// Sets the trouble of `topic`, or of all topics; `None` when it is over.
    pub(crate) fn set(&self, topic: Option<TopicId>, trouble: Option<Trouble>) {
        let mut known = lock(&self.0);
        let Some(topic) = topic else {
            known.general = trouble;
            return;
        };
        known.topics.retain(|(known, _)| *known != topic);
        if let (Some(trouble), true) = (trouble, known.topics.len() < TOPICS) {
            known.topics.push((topic, trouble));
        }
    }

    /// The failure with its cause, if it is a timeout, or the topic does not exist.
    pub(crate) fn explain(&self, topic: Option<TopicId>, failure: Failure) -> (Failure, Explained) {
        let timed_out = failure.kind == FailureKind::TimedOut;
        let is_unknown = failure.kind == FailureKind::UnknownTopic;
        if !timed_out && !is_unknown && failure.kind != FailureKind::Closed {
            return (failure, Explained::default());
        }
        let known = lock(&self.0);
        let of_topic = known.topics.iter().find(|(known, _)| Some(*known) == topic);
        let general = known.general.as_ref().filter(|_| !is_unknown);
        let trouble = of_topic.map(|(_, trouble)| trouble).or(general);
        let kind = trouble.filter(|_| timed_out).map_or(failure.kind, |trouble| trouble.kind);
        let cause = trouble.map(|trouble| Arc::clone(&trouble.reason));
        (failure.with_kind(kind), Explained { cause, timed_out })
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use aioproducer_core::backend::Status;

    use super::*;

    fn trouble(reason: &str) -> Trouble {
        Trouble { kind: FailureKind::UnknownTopic, reason: reason.into() }
    }

    #[test]
    fn s17_a_topic_s_own_trouble_goes_before_that_of_all() {
        let troubles = Troubles::default();
        let explain = |topic, kind| {
            let failure = Failure::new(kind, Status::NotPersisted, None, "");
            let (failure, explained) = troubles.explain(Some(TopicId(topic)), failure);
            (failure.kind, explained.cause.map(|cause| cause.to_string()))
        };
        let of = |topic| explain(topic, FailureKind::TimedOut).1;
        assert_eq!(of(1), None);
        troubles.set(None, Some(trouble("all")));
        troubles.set(Some(TopicId(1)), Some(trouble("one")));
        assert_eq!((of(1).as_deref(), of(2).as_deref()), (Some("one"), Some("all")));
        assert_eq!(explain(1, FailureKind::TimedOut).0, FailureKind::UnknownTopic);
        assert_eq!(explain(1, FailureKind::Closed), (FailureKind::Closed, Some("one".into())));
        assert_eq!(
            explain(1, FailureKind::TooLarge),
            (FailureKind::TooLarge, None),
            "a size has nothing to do with a trouble"
        );
        troubles.set(Some(TopicId(1)), None);
        troubles.set(None, None);
        assert_eq!(of(1), None);
        for topic in 0..1_000 {
            troubles.set(Some(TopicId(topic)), Some(trouble("many")));
        }
        assert_eq!(lock(&troubles.0).topics.len(), TOPICS);
    }
}
