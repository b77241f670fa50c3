//! A record in the log.

use std::str;

use aioproducer_core::backend::Message;

use crate::fnv::Fnv;
/// What librdkafka counts for a record besides key, value and headers.
pub(crate) const RECORD_OVERHEAD: usize = 36;

/// A record in the log of a partition of a [`SimCluster`](crate::SimCluster), as a consumer would read it.
///
/// ```
/// # use aioproducer_sim::LogRecord;
/// /// The id that an application put into a header.
/// fn order_id(record: &LogRecord) -> Option<&[u8]> {
///     record.headers().iter().find(|(name, _)| name == "order-id").and_then(|(_, value)| value.as_deref())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Box<[u8]>>,
    payload: Option<Box<[u8]>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl LogRecord {
    /// A copy of what a producer sends. `now` is the time for a record that has none, in milliseconds since the Unix epoch.
    pub(crate) fn copy(message: &impl Message, partition: i32, now: i64) -> Self {
        let header = |index| message.header(index);
        let headers = (0..message.header_count()).filter_map(header);
        Self {
            partition,
            offset: -1,
            timestamp: message.timestamp().unwrap_or(now),
            key: message.key().map(Box::from),
            payload: message.payload().map(Box::from),
            headers: headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(partition: i32, offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) -> Self {
        let [key, payload] = [key, payload].map(|part| part.map(Box::from));
        Self { partition, offset, timestamp: 0, key, payload, headers: Vec::new() }
    }

    /// A number for its bytes, equal for equal ones.
    pub(crate) fn digest(&self) -> u64 {
        let mut sum = Fnv::default();
        sum.part(self.key());
        sum.part(self.payload());
        for (name, value) in &self.headers {
            sum.part(Some(name.as_bytes()));
            sum.part(value.as_deref());
        }
        sum.sum()
    }

    /// The same at `offset`.
    pub(super) fn at(&self, offset: i64) -> Self {
        Self { offset, ..self.clone() }
    }

    /// What librdkafka counts for it in a request.
    pub(crate) fn size(&self) -> usize {
        let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + len(value.as_deref()));
        RECORD_OVERHEAD + len(self.key()) + len(self.payload()) + headers.sum::<usize>()
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Its offset in the partition; -1 of a record that is not in the log yet.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Milliseconds since the Unix epoch: the record's own, or the cluster's virtual time, which begins with the year 2025.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The key; `None` if there is none.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The value; `None` for a tombstone.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// The headers in their order, duplicates included.
    #[must_use]
    pub fn headers(&self) -> &[(String, Option<Vec<u8>>)] {
        &self.headers
    }

    /// The key as text, `None` if there is none or it is not UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Option<&str> {
        str::from_utf8(self.key()?).ok()
    }

    /// The value as text, `None` for a tombstone or if it is not UTF-8.
    #[must_use]
    pub fn payload_str(&self) -> Option<&str> {
        str::from_utf8(self.payload()?).ok()
    }
}
