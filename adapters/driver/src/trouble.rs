//! What stands in the way of records for now, as the backend tells it: the cause of those whose time passes.

use aioproducer_core::TopicId;
use aioproducer_core::backend::{FailureKind, Trouble};

use crate::sync::{Mutex, lock};

/// Topics whose troubles are remembered; there is one for all others.
const TOPICS: usize = 64;

#[derive(Default)]
pub(crate) struct Troubles(Mutex<Known>);

#[derive(Default)]
struct Known {
    general: Option<Trouble>,
    topics: Vec<(TopicId, Trouble)>,
}

impl Troubles {
    /// What is in the way of `topic`, or of all topics.
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

    /// Why a record failed with `kind`, if that was for want of time.
    pub(crate) fn of(&self, topic: Option<TopicId>, kind: FailureKind) -> Option<Trouble> {
        if !matches!(kind, FailureKind::TimedOut | FailureKind::Closed) {
            return None;
        }
        let known = lock(&self.0);
        let of_topic = known.topics.iter().find(|(known, _)| Some(*known) == topic);
        of_topic.map(|(_, trouble)| trouble).or(known.general.as_ref()).cloned()
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    fn trouble(reason: &str) -> Trouble {
        Trouble { kind: FailureKind::UnknownTopic, reason: reason.into() }
    }

    #[test]
    fn s17_a_topic_s_own_trouble_goes_before_that_of_all() {
        let troubles = Troubles::default();
        let of = |topic| troubles.of(Some(TopicId(topic)), FailureKind::TimedOut).map(|found| found.reason.to_string());
        assert_eq!(of(1), None);
        troubles.set(None, Some(trouble("all")));
        troubles.set(Some(TopicId(1)), Some(trouble("one")));
        assert_eq!((of(1).as_deref(), of(2).as_deref()), (Some("one"), Some("all")));
        assert_eq!(troubles.of(Some(TopicId(1)), FailureKind::TooLarge), None, "that has nothing to do with it");
        troubles.set(Some(TopicId(1)), None);
        troubles.set(None, None);
        assert_eq!(of(1), None);
        for topic in 0..1_000 {
            troubles.set(Some(TopicId(topic)), Some(trouble("many")));
        }
        assert_eq!(lock(&troubles.0).topics.len(), TOPICS);
    }
}
