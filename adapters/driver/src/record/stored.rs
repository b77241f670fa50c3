//! A record as the pool owns it.

use std::fmt;

use aioproducer_core::{self as core, Lane, TopicId, backend::Message};
use bytes::{BufMut, Bytes};

use super::{
    Data, Header, Record,
    data::{Headers, Name},
};
use crate::{arena::Arena, topics::TopicRef};

/// No timestamp: a record's own is never negative.
const UNSTAMPED: i64 = -1;

/// A record that the producer owns, as backends see it: they read it by [`Message`].
pub struct Stored {
    lane: Lane,
    /// `None` if the key is null or stands before the payload.
    key: Option<Bytes>,
    /// With `joined`, the key's bytes and then the payload's.
    payload: Option<Bytes>,
    /// The key's length if key and payload are one piece of memory, which saves half the reference counting.
    joined: Option<u32>,
    headers: Option<Box<Headers<'static>>>,
    timestamp: i64,
    size: usize,
}

impl Stored {
    /// Takes over what `record` owns or shares and copies what it borrows. The record passed [`Record::check`].
    pub(crate) fn from_record(record: Record<'_>, topic: TopicId, arena: &mut Arena) -> Self {
        let size = record.size();
        let lane = Lane::new(topic, record.get_partition());
        let timestamp = record.get_timestamp_millis().unwrap_or(UNSTAMPED);
        let headers = record.headers.map(|headers| Box::new(own_headers(*headers, arena)));
        let mut own = |present: bool, data: Data<'_>| {
            present.then(|| match data {
                Data::Borrowed(bytes) => arena.copy(bytes),
                Data::Shared(bytes) => bytes,
            })
        };
        let (key, payload, joined) = match (record.key, record.payload) {
            (Data::Borrowed(key), Data::Borrowed(payload))
                if record.has_key && record.has_payload && u32::try_from(key.len()).is_ok() =>
            {
                (None, Some(arena.copy_both(key, payload)), Some(key.len() as u32))
            }
            (key, payload) => (own(record.has_key, key), own(record.has_payload, payload), None),
        };
        Self { lane, key, payload, joined, headers, timestamp, size }
    }

    /// The record's topic.
    pub(crate) fn topic(&self) -> TopicId {
        self.lane.topic()
    }

    /// The record again, for handing back; `topic` names its topic. Nothing is copied.
    pub(crate) fn into_record(mut self, topic: impl Into<TopicRef<'static>>) -> Record<'static> {
        let mut record = Record::to(topic);
        if let (Some(len), Some(payload)) = (self.joined, &mut self.payload) {
            self.key = Some(payload.split_to(len as usize));
        }
        if let Some(key) = self.key {
            record = record.key(key);
        }
        if let Some(payload) = self.payload {
            record = record.payload(payload);
        }
        if let Some(partition) = self.lane.partition() {
            record = record.partition(partition);
        }
        if self.timestamp != UNSTAMPED {
            record = record.timestamp_millis(self.timestamp);
        }
        record.headers = self.headers;
        record
    }
}

impl core::Record for Stored {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn size(&self) -> usize {
        self.size
    }
}

impl Message for Stored {
    fn payload(&self) -> Option<&[u8]> {
        let start = self.joined.unwrap_or(0) as usize;
        self.payload.as_ref().map(|payload| &payload[start..])
    }

    fn key(&self) -> Option<&[u8]> {
        match (self.joined, &self.payload) {
            (Some(len), Some(payload)) => Some(&payload[..len as usize]),
            _ => self.key.as_deref(),
        }
    }

    fn timestamp(&self) -> Option<i64> {
        (self.timestamp != UNSTAMPED).then_some(self.timestamp)
    }

    fn header_count(&self) -> usize {
        self.headers.as_ref().map_or(0, |headers| headers.0.len())
    }

    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let header = self.headers.as_ref()?.0.get(index)?;
        Some((header.name(), header.value()))
    }
}

/// Shows lengths, not contents.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("lane", &self.lane).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Copies all borrowed names and values in one piece. The list's own memory is used again.
fn own_headers(headers: Headers<'_>, arena: &mut Arena) -> Headers<'static> {
    let borrowed: usize = headers.0.iter().flat_map(borrowed_parts).map(<[u8]>::len).sum();
    let mut copy =
        arena.build(borrowed, |out| headers.0.iter().flat_map(borrowed_parts).for_each(|part| out.put(part)));
    let own = |header: Header<'_>| {
        let name = match header.name {
            Name::Borrowed(name) => Name::Shared(copy.split_to(name.len())),
            Name::Owned(name) => Name::Owned(name),
            Name::Shared(name) => Name::Shared(name),
        };
        let value = header.value.map(|value| match value {
            Data::Borrowed(value) => Data::Shared(copy.split_to(value.len())),
            Data::Shared(value) => Data::Shared(value),
        });
        Header { name, value }
    };
    Headers(headers.0.into_iter().map(own).collect())
}

/// What a header borrows, in the order in which it is copied.
fn borrowed_parts<'h>(header: &'h Header<'_>) -> impl Iterator<Item = &'h [u8]> {
    let name = match header.name {
        Name::Borrowed(name) => Some(name.as_bytes()),
        Name::Owned(_) | Name::Shared(_) => None,
    };
    let value = match header.value {
        Some(Data::Borrowed(value)) => Some(value),
        Some(Data::Shared(_)) | None => None,
    };
    name.into_iter().chain(value)
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::borrow::Cow;

    use aioproducer_core::Record as _;
    use proptest::{option, prelude::*};

    use super::*;

    fn store(record: Record<'_>) -> Stored {
        Stored::from_record(record, TopicId(7), &mut Arena::new(16 << 20))
    }

    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Stored>() <= 104, "{}", size_of::<Stored>());
    }

    #[test]
    fn s08_shared_bytes_are_not_copied() {
        let payload = Bytes::from(vec![1; 50]);
        let stored = store(Record::to("t").key("k").payload(&payload).header("h", payload.clone()));
        assert_eq!(stored.payload().unwrap().as_ptr(), payload.as_ptr());
        assert_eq!(stored.header(0).unwrap().1.unwrap().as_ptr(), payload.as_ptr());
        let owned = vec![2; 50];
        let at = owned.as_ptr();
        let back = store(Record::to("t").payload(owned)).into_record("t");
        assert_eq!(back.get_payload().unwrap().as_ptr(), at);
    }

    #[test]
    fn without_a_partition_the_lane_has_none() {
        assert_eq!(store(Record::to("t")).lane(), Lane::new(TopicId(7), None));
        assert_eq!(store(Record::to("t").partition(0)).lane(), Lane::new(TopicId(7), Some(0)));
    }

    #[derive(Clone, Debug)]
    struct Part {
        bytes: Option<Vec<u8>>,
        lent: bool,
    }

    impl Part {
        fn data(&self) -> Option<Data<'_>> {
            self.bytes.as_ref().map(|bytes| if self.lent { bytes.into() } else { bytes.clone().into() })
        }
    }

    fn part() -> impl Strategy<Value = Part> {
        let bytes = prop_oneof![9 => 0..20_usize, 1 => 0..5000_usize]
            .prop_flat_map(|len| option::of(prop::collection::vec(any::<u8>(), len)));
        (bytes, any::<bool>()).prop_map(|(bytes, lent)| Part { bytes, lent })
    }

    proptest! {
        #[test]
        fn s08_what_is_stored_is_what_was_said(
            key in part(),
            payload in part(),
            partition in option::of(0..100_i32),
            timestamp in option::of(0..i64::MAX),
            headers in prop::collection::vec(("[a-zäö]{0,6}", any::<bool>(), part()), 0..5),
        ) {
            let mut record = Record::to("t");
            if let Some(key) = key.data() {
                record = record.key(key);
            }
            if let Some(payload) = payload.data() {
                record = record.payload(payload);
            }
            if let Some(partition) = partition {
                record = record.partition(partition);
            }
            if let Some(timestamp) = timestamp {
                record = record.timestamp_millis(timestamp);
            }
            for (name, lent, value) in &headers {
                let name = if *lent { Cow::Borrowed(name.as_str()) } else { Cow::Owned(name.clone()) };
                record = match value.data() {
                    Some(value) => record.header(name, value),
                    None => record.null_header(name),
                };
            }
            let stored = store(record.clone());
            prop_assert_eq!(stored.key(), key.bytes.as_deref());
            prop_assert_eq!(stored.payload(), payload.bytes.as_deref());
            prop_assert_eq!(stored.timestamp(), timestamp);
            prop_assert_eq!(stored.lane().partition(), partition);
            prop_assert_eq!(stored.size(), record.size());
            prop_assert_eq!(stored.header_count(), headers.len());
            prop_assert_eq!(stored.header(headers.len()), None);
            for (index, (name, _, value)) in headers.iter().enumerate() {
                prop_assert_eq!(stored.header(index), Some((name.as_str(), value.bytes.as_deref())));
            }
            prop_assert_eq!(stored.into_record(String::from("t")), record);
        }
    }
}
