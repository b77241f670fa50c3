//! A record, and what it carries.

use aioproducer_core::{Lane, Record, TopicId};

use aioproducer_core::backend::Message;

pub(crate) type Header = (String, Option<Vec<u8>>);

/// Bytes that are overwritten before they are freed, so a late reader does not see the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Vec<u8>);

impl Drop for Payload {
    fn drop(&mut self) {
        self.0.fill(0xdd);
        std::hint::black_box(&self.0);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) id: u64,
    pub(crate) topic: u32,
    pub(crate) partition: Option<i32>,
    pub(crate) placed: bool,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Payload>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Vec<Header>,
}

impl Rec {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }.payload(id.to_string())
    }

    pub(crate) fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = Some(Payload(payload.into()));
        self
    }

    pub(crate) fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// As if the backend had placed it there.
    pub(crate) fn placed(mut self, partition: i32) -> Self {
        self.placed = true;
        self.to(partition)
    }

    pub(crate) fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.into(), value.map(<[u8]>::to_vec)));
        self
    }
}

impl Record for Rec {
    fn is_placed(&self) -> bool {
        self.placed
    }

    fn lane(&self) -> Lane {
        Lane::new(TopicId(self.topic), self.partition)
    }

    fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, |payload| payload.0.len())
    }
}

impl Message for Rec {
    fn payload(&self) -> Option<&[u8]> {
        self.payload.as_ref().map(|payload| payload.0.as_slice())
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    fn header_count(&self) -> usize {
        self.headers.len()
    }

    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.headers.get(index).map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn duplicate(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_short(&self) -> bool {
        self.headers.is_empty() && self.timestamp.is_none() && self.size() <= 100
    }
}
