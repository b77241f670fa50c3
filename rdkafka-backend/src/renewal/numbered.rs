//! A record with its place in the order of hand-offs.

use std::time::Duration;

use aioproducer_core::backend::Message;
use aioproducer_core::{Lane, Record};

/// A record that a client has. It is never copied by the client, so that the record itself comes back.
pub(crate) struct Numbered<R> {
    pub(super) record: R,
    /// It grows with each hand-off of a lane.
    pub(super) number: u64,
}

impl<R: Record> Record for Numbered<R> {
    fn lane(&self) -> Lane {
        self.record.lane()
    }

    fn size(&self) -> usize {
        self.record.size()
    }

    fn overhead(&self) -> u32 {
        self.record.overhead()
    }

    fn is_placed(&self) -> bool {
        self.record.is_placed()
    }

    fn is_urgent(&self) -> bool {
        self.record.is_urgent()
    }

    fn timeout(&self) -> Option<Duration> {
        self.record.timeout()
    }
}

impl<R: Message> Message for Numbered<R> {
    fn payload(&self) -> Option<&[u8]> {
        self.record.payload()
    }

    fn key(&self) -> Option<&[u8]> {
        self.record.key()
    }

    fn timestamp(&self) -> Option<i64> {
        self.record.timestamp()
    }

    fn header_count(&self) -> usize {
        self.record.header_count()
    }

    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.record.header(index)
    }

    fn duplicate(&self) -> Option<Self> {
        Some(Self { record: self.record.duplicate()?, number: self.number })
    }
}
