//! What a backend has of each partition.

use core::time::Duration;

use crate::TopicId;

/// What a backend has of a partition, and whether it is answered.
///
/// ```
/// use core::time::Duration;
///
/// use aioproducer_core::TopicId;
/// use aioproducer_core::backend::PartitionLoad;
///
/// let load = PartitionLoad::new(TopicId(0), 3)
///     .led_by(Some(1001))
///     .with_records(20, Some(Duration::from_secs(4)))
///     .answered(Some(Duration::from_secs(4)))
///     .passed_over(true);
/// assert!(load.is_passed_over && load.unanswered_for > Some(Duration::from_secs(1)));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLoad {
    /// Its topic.
    pub topic: TopicId,
    /// Its number.
    pub partition: i32,
    /// The broker that has answered for it last, if one has.
    pub leader: Option<i32>,
    /// Records that the backend has of it.
    pub records: usize,
    /// For how long those have had no answer. `None` if there are none.
    pub unanswered_for: Option<Duration>,
    /// How long ago its leader has answered last, for any partition. `None` if it has not.
    pub answered: Option<Duration>,
    /// Records that may go anywhere do not go there.
    pub is_passed_over: bool,
}

impl PartitionLoad {
    /// A partition of which the backend has nothing.
    #[must_use]
    pub const fn new(topic: TopicId, partition: i32) -> Self {
        Self { topic, partition, leader: None, records: 0, unanswered_for: None, answered: None, is_passed_over: false }
    }

    /// With its leader.
    #[must_use]
    pub const fn led_by(mut self, leader: Option<i32>) -> Self {
        self.leader = leader;
        self
    }

    /// With records, and for how long those have had no answer.
    #[must_use]
    pub const fn with_records(mut self, records: usize, unanswered_for: Option<Duration>) -> Self {
        (self.records, self.unanswered_for) = (records, unanswered_for);
        self
    }

    /// With the time since its leader has answered.
    #[must_use]
    pub const fn answered(mut self, answered: Option<Duration>) -> Self {
        self.answered = answered;
        self
    }

    /// Whether it is passed over.
    #[must_use]
    pub const fn passed_over(mut self, is_passed_over: bool) -> Self {
        self.is_passed_over = is_passed_over;
        self
    }
}
