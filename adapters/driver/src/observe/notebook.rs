//! What a backend for tests notes of each record: the feature `journal`.

use std::fmt;
use std::sync::Arc;

use aioproducer_core::backend::{Accepted, Connect, Delivered, Journal, Message, Status};

use crate::record::Record;

/// The number of a record in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted(u64);

impl Noted {
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// The journal, if the backend has one.
#[derive(Clone, Default)]
pub(crate) struct Notebook(Option<Arc<dyn Journal>>);

impl Notebook {
    pub(crate) fn of<R: Message>(backend: &mut impl Connect<R>) -> Self {
        Self(backend.journal())
    }

    #[inline]
    pub(crate) fn accepted(&self, record: &Record<'_>) -> Noted {
        let Some(journal) = &self.0 else { return Noted::NONE };
        Noted(journal.accepted(Accepted {
            topic: record.topic(),
            partition: record.get_partition(),
            key: record.get_key(),
            payload: record.get_payload(),
            timeout: record.get_timeout(),
        }))
    }

    #[inline]
    pub(crate) fn delivered(&self, noted: Noted, at: Delivered) {
        if let Some(journal) = &self.0 {
            journal.delivered(noted.0, at);
        }
    }

    #[inline]
    pub(crate) fn failed(&self, noted: Noted, status: Status) {
        if let Some(journal) = &self.0 {
            journal.failed(noted.0, status);
        }
    }

    #[inline]
    pub(crate) fn retracted(&self, noted: Noted) {
        if let Some(journal) = &self.0 {
            journal.retracted(noted.0);
        }
    }
}

impl fmt::Debug for Notebook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notebook").field(&self.0.is_some()).finish()
    }
}
