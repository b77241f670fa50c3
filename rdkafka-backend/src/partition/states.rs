//! The topics that have a handle.

use std::sync::{Arc, OnceLock};

use aioproducer_core::TopicId;
use aioproducer_core::backend::Placement;

use crate::partition::choice::TopicState;
use crate::partition::table::Table;

/// Room for 536,870,904 topics.
const CHUNKS: usize = 26;

/// The topics that have a handle, by their id. Reading takes no lock.
pub(crate) struct TopicStates(Table<OnceLock<Arc<TopicState>>, CHUNKS>);

impl TopicStates {
    pub(crate) fn new() -> Self {
        Self(Table::new())
    }

    /// The topic has a handle now.
    pub(crate) fn set(&self, id: TopicId, state: Arc<TopicState>) {
        if let Some(place) = self.0.get_or_default(id.0 as usize) {
            // A topic has one handle.
            let _ = place.set(state);
        }
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<&TopicState> {
        Some(self.0.get(id.0 as usize)?.get()?)
    }

    /// Decides where a record with a key goes, before it is accepted.
    pub(crate) fn place(&self, topic: TopicId, key: &[u8], value: Option<&[u8]>) -> Placement {
        self.get(topic).map_or(Placement::Unknown, |state| state.place(key, value))
    }
}
