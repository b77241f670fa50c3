//! What is under way between a client and the brokers, in the order of its time.

use std::collections::BTreeMap;

use aioproducer_core::backend::ErrorCode;
use aioproducer_core::{Instant, TopicId};

use crate::cluster::{Flight, Sent};

/// A partition of a topic.
pub(super) type Place = (TopicId, i32);

pub(super) enum Due {
    /// A request is at its broker.
    Arrive { place: Place, flight: Flight },
    /// A reply is at the client: the first record's offset, an error, or `None` if the connection breaks.
    Reply { place: Place, sent: Sent, generation: u64, result: Option<Result<i64, ErrorCode>> },
    /// The client waits no longer for a reply.
    Expire { place: Place, sent: Sent },
}

/// Each entry has a time, and the number of the attempt that it is about. An attempt has a request or a reply under way at a time.
#[derive(Default)]
pub(super) struct Schedule {
    entries: BTreeMap<(Instant, u64, bool), Due>,
    numbers: u64,
}

impl Schedule {
    /// A number for a new attempt.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn add(&mut self, at: Instant, number: u64, due: Due) {
        let expires = matches!(due, Due::Expire { .. });
        self.entries.insert((at, number, expires), due);
    }

    /// The attempt has ended and need not be given up.
    pub(super) fn remove_expiry(&mut self, at: Instant, number: u64) {
        self.entries.remove(&(at, number, true));
    }

    /// Takes the first entry whose time has come, with its number.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(u64, Due)> {
        let first = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, number, _), due) = first.remove_entry();
        Some((number, due))
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|((at, ..), _)| *at)
    }
}
