//! A record as the pool owns it.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use aioproducer_core::{self as core, Lane, TopicId, backend::Copied, backend::Message};
use bytes::Bytes;

use super::arena::Arena;
use super::copying::{Front, SHORT, one_piece, own, own_headers, unpack};
use super::data::Headers;
use super::packed::Packed;
use super::topics::TopicRef;
use super::{Data, Header, Memory, Record, cost};

/// No timestamp: a record's own is never negative.
const UNSTAMPED: i64 = -1;

/// A record that the producer owns, as backends see it: they read it by [`Message`].
///
/// It is written once, where it stays until its end, and fills one cache line of the threads that it passes through;
/// what is rare is elsewhere. Its place is used again for another record.
///
/// ```
/// use aioproducer_core::backend::Message;
/// use aioproducer_driver::record::OwnedRecord;
///
/// /// What a backend for it may look at.
/// fn value_len(record: &OwnedRecord) -> usize {
///     record.payload().map_or(0, <[u8]>::len)
/// }
/// ```
#[derive(Clone)]
pub struct OwnedRecord(Box<Body>);

#[derive(Clone)]
struct Body {
    /// The payload, and before it what `front` says.
    data: Option<Bytes>,
    rare: Option<Box<Rare>>,
    timestamp: i64,
    lane: Lane,
    front: Front,
    /// What it counts for in the pool, in bytes.
    cost: u32,
}

/// What few records have.
#[derive(Clone, Default)]
struct Rare {
    /// In milliseconds.
    timeout: Option<NonZeroU32>,
    /// A key that is not in one piece with the payload.
    key: Option<Bytes>,
    headers: Vec<Header<'static>>,
    /// What they count for in the pool beyond their bytes.
    overhead: u32,
}

impl OwnedRecord {
    /// The largest record there can be, in bytes.
    pub(crate) const LIMIT: usize = u32::MAX as usize - 1;

    /// Takes over what `record` owns or shares and copies what it borrows, or copies all. `cost` is
    /// the record's, at most [`OwnedRecord::LIMIT`], and the record passed [`Record::check`].
    #[inline]
    pub(crate) fn from_record(record: &mut Record<'_>, lane: Lane, cost: usize, memory: &mut Memory) -> Self {
        let mut place = memory.place().unwrap_or_else(Self::vacant);
        let body = &mut *place.0;
        let mut front = match (&record.key, &record.payload) {
            (Data::Borrowed([]), Data::Borrowed(payload)) if record.is_plain() => {
                body.data = Some(memory.arena.copy(payload));
                Front::new(false, None)
            }
            _ => body.take_over(record, &mut memory.arena),
        };
        if record.urgent {
            front.0 |= Front::URGENT;
        }
        if !record.has_partition && lane.partition().is_some() {
            front.0 |= Front::PLACED;
        }
        body.timestamp = record.get_timestamp_millis().unwrap_or(UNSTAMPED);
        (body.lane, body.front, body.cost) = (lane, front, cost as u32);
        place
    }

    /// A record of which only the copy is left that a backend made. The place of the first one may be another's by now.
    pub(crate) fn from_copy(lane: Lane, copied: Copied, memory: &mut Memory) -> Self {
        let mut record = memory.place().unwrap_or_else(Self::vacant);
        let body = &mut *record.0;
        body.lane = lane;
        let urgent = if copied.urgent { Front::URGENT } else { 0 };
        let placed = if copied.placed { Front::PLACED } else { 0 };
        (body.timestamp, body.front) = (UNSTAMPED, Front(Front::NONE.0 | urgent | placed));
        let [key, payload] = [&copied.key, &copied.payload].map(|part| part.as_ref().map_or(0, Vec::len));
        body.cost = (2 * key + payload) as u32;
        body.data = copied.payload.map(Bytes::from);
        body.rare = copied.key.map(|key| Box::new(Rare { key: Some(key.into()), ..Rare::default() }));
        record
    }

    #[cold]
    fn vacant() -> Self {
        let (data, rare, lane, front) = (None, None, Lane::new(TopicId(0), None), Front::NONE);
        Self(Box::new(Body { data, rare, timestamp: UNSTAMPED, lane, front, cost: 0 }))
    }

    /// Drops what the record holds; its place remains.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0.data = None;
        if self.0.rare.is_some() {
            self.0.rare = None;
        }
    }

    /// The record's topic.
    pub(crate) fn topic(&self) -> TopicId {
        self.0.lane.topic()
    }

    /// The record again, for handing back; `topic` names its topic. Nothing is copied, and the place remains.
    pub(crate) fn take_record(&mut self, topic: impl Into<TopicRef<'static>>) -> Record<'static> {
        let mut record = Record::to(topic);
        let Body { data, rare, timestamp, lane, front, .. } = &mut *self.0;
        let (mut data, timestamp, lane, front) = (data.take(), *timestamp, *lane, *front);
        let Rare { timeout, mut key, mut headers, .. } = rare.take().map_or_else(Rare::default, |rare| *rare);
        if let Some(data) = data.as_mut() {
            if front.has_headers() {
                let block = data.split_to(Packed(data).len());
                headers = unpack(&block);
            }
            key = front.key_len().map(|len| data.split_to(len)).or(key);
        }
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(payload) = data {
            record = record.payload(payload);
        }
        if let Some(partition) = lane.partition().filter(|_| !front.is_placed()) {
            record = record.partition(partition);
        }
        if timestamp != UNSTAMPED {
            record = record.timestamp_millis(timestamp);
        }
        record.headers = Headers::from_list(headers);
        (record.timeout, record.urgent) = (timeout, front.is_urgent());
        record
    }
}

impl core::Record for OwnedRecord {
    fn lane(&self) -> Lane {
        self.0.lane
    }

    fn is_placed(&self) -> bool {
        self.0.front.is_placed()
    }

    #[inline]
    fn size(&self) -> usize {
        self.0.cost.saturating_sub(self.overhead()) as usize
    }

    #[inline(always)]
    fn overhead(&self) -> u32 {
        if self.0.front.is_plain() && self.0.rare.is_none() { 0 } else { self.0.overhead() }
    }

    fn is_urgent(&self) -> bool {
        self.0.front.is_urgent()
    }

    #[inline]
    fn timeout(&self) -> Option<Duration> {
        let millis = self.0.rare.as_ref()?.timeout?;
        Some(Duration::from_millis(u64::from(millis.get())))
    }
}

impl Message for OwnedRecord {
    fn payload(&self) -> Option<&[u8]> {
        let start = self.0.headers_len() + self.0.front.key_len().unwrap_or(0);
        self.0.data.as_ref().map(|data| &data[start..])
    }

    fn key(&self) -> Option<&[u8]> {
        match (&self.0.data, self.0.front.key_len()) {
            (Some(data), Some(len)) => Some(&data[self.0.headers_len()..][..len]),
            _ => self.0.rare.as_ref()?.key.as_deref(),
        }
    }

    fn timestamp(&self) -> Option<i64> {
        (self.0.timestamp != UNSTAMPED).then_some(self.0.timestamp)
    }

    fn header_count(&self) -> usize {
        match self.0.packed() {
            Some(packed) => packed.count(),
            None => self.0.rare.as_ref().map_or(0, |rare| rare.headers.len()),
        }
    }

    fn duplicate(&self) -> Option<Self> {
        Some(self.clone())
    }

    #[inline]
    fn is_short(&self) -> bool {
        let Body { rare, timestamp, front, .. } = &*self.0;
        // What is kept of a record with a timeout of its own goes before a backend's copy.
        let keyed = rare.as_ref().is_none_or(|rare| rare.headers.is_empty());
        let plain = !front.has_headers() && *timestamp == UNSTAMPED;
        keyed && plain && core::Record::size(self) <= SHORT
    }

    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        if let Some(packed) = self.0.packed() {
            return packed.get(index);
        }
        let header = self.0.rare.as_ref()?.headers.get(index)?;
        Some((header.name(), header.value()))
    }
}

impl Body {
    /// Takes over what `record` owns or shares and copies what it borrows, in one piece if it can.
    fn take_over(&mut self, record: &mut Record<'_>, arena: &mut Arena) -> Front {
        if record.timeout.is_some() {
            self.rare.get_or_insert_default().timeout = record.timeout.take();
        }
        let overhead = cost::of_headers(record) as u32;
        if let Some((front, data)) = one_piece(record, arena) {
            record.headers = Headers::NONE;
            self.data = Some(data);
            return front;
        }
        let headers = record.headers.take();
        if !headers.is_empty() {
            let rare = self.rare.get_or_insert_default();
            (rare.headers, rare.overhead) = (own_headers(headers, arena), overhead);
        }
        if record.has_key {
            self.rare.get_or_insert_default().key = Some(own(&mut record.key, arena));
        }
        self.data = record.has_payload.then(|| own(&mut record.payload, arena));
        Front::NONE
    }

    /// What it counts for beyond its bytes: the key once more, and the headers.
    #[inline(never)]
    fn overhead(&self) -> u32 {
        let rare = self.rare.as_ref();
        let key = self.front.key_len().or_else(|| Some(rare?.key.as_ref()?.len())).unwrap_or(0);
        let headers = match self.packed() {
            Some(packed) => cost::of_packed(packed.count(), packed.bytes()) as u32,
            None => rare.map_or(0, |rare| rare.overhead),
        };
        headers.saturating_add(key as u32)
    }

    fn packed(&self) -> Option<Packed<'_>> {
        self.data.as_deref().filter(|_| self.front.has_headers()).map(Packed)
    }

    fn headers_len(&self) -> usize {
        self.packed().map_or(0, Packed::len)
    }
}

/// Shows lengths, not contents.
impl fmt::Debug for OwnedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lane = core::Record::lane(self);
        f.debug_struct("OwnedRecord")
            .field("lane", &lane)
            .field("size", &core::Record::size(self))
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::borrow::Cow;

    use aioproducer_core::Record as _;
    use proptest::{option, prelude::*};

    use super::*;

    fn store(mut record: Record<'_>) -> OwnedRecord {
        let (cost, lane) = (record.cost(), Lane::new(TopicId(7), record.get_partition()));
        OwnedRecord::from_record(&mut record, lane, cost, &mut Memory::new(Arena::new(16 << 20), 1))
    }

    #[test]
    fn a_slot_stays_small() {
        assert_eq!(size_of::<Body>(), 64);
    }

    #[test]
    fn s08_shared_bytes_are_not_copied() {
        let payload = Bytes::from(vec![1; SHORT]);
        let long = store(Record::to("t").key("k").payload(&payload));
        assert_eq!(long.payload().unwrap().as_ptr(), payload.as_ptr());
        let stored = store(Record::to("t").key("k").payload(&payload).header("h", payload.clone()));
        assert_eq!(stored.payload().unwrap().as_ptr(), payload.as_ptr());
        assert_eq!(stored.header(0).unwrap().1.unwrap().as_ptr(), payload.as_ptr());
        let owned = vec![2; 50];
        let at = owned.as_ptr();
        let back = store(Record::to("t").payload(owned)).take_record("t");
        assert_eq!(back.get_payload().unwrap().as_ptr(), at);
    }

    #[test]
    fn s18_short_records_that_part_ways_may_be_copied_whatever_form_they_come_in() {
        let shared = Bytes::from_static(b"shared");
        let keyed = || Record::to("t").key("key");
        let owned = || Record::to("t").key(String::from("key"));
        let second = Duration::from_secs(1);
        for record in [
            keyed().payload("lent"),
            keyed().payload(&shared),
            keyed().payload(vec![1; 100]).urgent(),
            owned().payload("lent").timeout(second),
            owned().payload(&shared),
            Record::to("t").key(&shared).payload(&shared),
            Record::to("t").payload(&shared).partition(3),
        ] {
            let mut stored = store(record.clone());
            assert!(stored.is_short() && stored.0.front.key_len() == record.get_key().map(<[u8]>::len), "{record:?}");
            assert!(stored.payload().unwrap().as_ptr() != shared.as_ptr(), "{record:?}");
            assert_eq!(stored.take_record("t"), record);
        }
        assert!(store(keyed()).is_short() && store(owned()).is_short(), "tombstones");
        for record in [keyed().payload(vec![1; SHORT]), keyed().header("h", "v"), keyed().timestamp_millis(1)] {
            assert!(!store(record).is_short());
        }
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
            (timeout, urgent) in (option::of(0..u64::MAX), any::<bool>()),
        ) {
            let mut record = Record::to("t");
            if let Some(timeout) = timeout {
                record = record.timeout(Duration::from_nanos(timeout));
            }
            if urgent {
                record = record.urgent();
            }
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
            let mut stored = store(record.clone());
            prop_assert_eq!(stored.key(), key.bytes.as_deref());
            prop_assert_eq!(stored.payload(), payload.bytes.as_deref());
            prop_assert_eq!(stored.timestamp(), timestamp);
            prop_assert_eq!(stored.timeout(), record.get_timeout());
            prop_assert_eq!(stored.is_urgent(), urgent);
            prop_assert_eq!(stored.lane().partition(), partition);
            prop_assert_eq!(stored.size(), record.size());
            prop_assert_eq!(stored.size() + stored.overhead() as usize, record.cost());
            prop_assert_eq!(stored.header_count(), headers.len());
            prop_assert_eq!(stored.header(headers.len()), None);
            for (index, (name, _, value)) in headers.iter().enumerate() {
                prop_assert_eq!(stored.header(index), Some((name.as_str(), value.bytes.as_deref())));
            }
            if stored.is_short() {
                let copied = Copied { key: key.bytes.clone(), payload: payload.bytes.clone(), urgent, placed: false };
                let mut again = OwnedRecord::from_copy(stored.lane(), copied, &mut Memory::new(Arena::new(0), 1));
                let mut timeless = record.clone();
                timeless.timeout = None;
                prop_assert_eq!(again.take_record(String::from("t")), timeless);
            }
            prop_assert_eq!(stored.take_record(String::from("t")), record);
        }
    }
}
