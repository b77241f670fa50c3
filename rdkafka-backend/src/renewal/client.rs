//! What a renewal asks of a client.

use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Backend;

use crate::partition::states::TopicStates;

/// A client with its threads.
pub(crate) trait Client: Backend {
    /// Ends the client as [`Backend::shut_down`] does, but gives it more time, so that it can say of each record whether it was sent.
    fn retire(&self, limit: Duration);

    /// What it knows of its topics.
    fn topics(&self) -> &Arc<TopicStates>;

    /// A partition that has left records without an answer for `limit`, although its leader is connected, if it is known.
    fn stalled(&self, limit: Duration) -> Option<Stalled>;
}

/// A partition that makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stalled {
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
}
