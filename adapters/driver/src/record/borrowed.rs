//! A record as an application makes it. It may borrow what it is made of.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::data::Headers;
use super::topics::TopicRef;
use super::{Data, Header, RecordSpan};

/// A record to produce: a topic, and what else there is to say.
///
/// Key and payload are null until they are set; null and empty are different. Without a partition, the producer
/// chooses one; without a timestamp, the record gets the time of its sending.
///
/// A method with a part's name sets the part. What it was set to has the same name with `get_` in front, as in
/// [`std::process::Command`].
///
/// ```
/// use aioproducer_driver::Record;
///
/// let record = Record::to("orders").key("customer-7").payload(&[1, 2, 3]).header("trace", "4f2a").null_header("debug");
/// assert_eq!(record.topic(), "orders");
/// assert_eq!(record.get_payload(), Some(&[1, 2, 3][..]));
/// assert_eq!(record.headers()[1].value(), None);
/// ```
///
/// # Serializers
///
/// Each call that produces takes what becomes a record: `impl Into<Record>`. So `From<T> for Record<'static>` is where a type
/// says how it is written, once, key, headers and topic included; nothing else has to be configured. With `serde` and JSON:
///
/// ```
/// use aioproducer_driver::{AioProducer, Record, SendError};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Order {
///     customer: u32,
///     items: Vec<String>,
/// }
///
/// impl From<Order> for Record<'static> {
///     fn from(order: Order) -> Self {
///         let json = serde_json::to_vec(&order).expect("an order is JSON");
///         Record::to("orders").key(order.customer.to_string()).payload(json).header("content-type", "application/json")
///     }
/// }
///
/// async fn place(producer: &AioProducer, order: Order) -> Result<(), SendError> {
///     producer.send(order).await?;
///     Ok(())
/// }
///
/// let record = Record::from(Order { customer: 7, items: vec!["apple".into()] });
/// assert_eq!(record.get_payload(), Some(&br#"{"customer":7,"items":["apple"]}"#[..]));
/// ```
///
/// What can fail to be written is for `TryFrom`: `producer.send(Record::try_from(order)?)`.
#[derive(Clone)]
pub struct Record<'a> {
    pub(super) topic: TopicRef<'a>,
    /// Empty when `has_key` is false; so is the payload. It keeps the record small.
    pub(super) key: Data<'a>,
    pub(super) payload: Data<'a>,
    pub(super) headers: Headers<'a>,
    pub(super) timestamp: i64,
    pub(super) partition: i32,
    /// In milliseconds.
    pub(super) timeout: Option<NonZeroU32>,
    pub(super) urgent: bool,
    pub(super) has_key: bool,
    pub(super) has_payload: bool,
    pub(super) has_timestamp: bool,
    pub(super) has_partition: bool,
    pub(crate) trace: RecordSpan,
}

impl<'a> Record<'a> {
    /// A record for a topic, given by name or as a [`Topic`](crate::Topic), which saves the look-up.
    #[inline]
    #[must_use]
    pub fn to(topic: impl Into<TopicRef<'a>>) -> Self {
        Self {
            topic: topic.into(),
            key: Data::Borrowed(&[]),
            payload: Data::Borrowed(&[]),
            headers: Headers::NONE,
            timestamp: 0,
            partition: 0,
            timeout: None,
            urgent: false,
            has_key: false,
            has_payload: false,
            has_timestamp: false,
            has_partition: false,
            trace: RecordSpan::default(),
        }
    }

    /// A tombstone: a key without a payload, upon which a compacted topic forgets what it had of that key.
    ///
    /// ```
    /// use aioproducer_driver::Record;
    ///
    /// let record = Record::tombstone("customers", "customer-7");
    /// assert_eq!((record.get_key(), record.get_payload()), (Some(&b"customer-7"[..]), None));
    /// ```
    #[must_use]
    pub fn tombstone(topic: impl Into<TopicRef<'a>>, key: impl Into<Data<'a>>) -> Self {
        Self::to(topic).key(key)
    }

    /// Sets the key. Records with the same key go to the same partition.
    #[inline]
    #[must_use]
    pub fn key(mut self, key: impl Into<Data<'a>>) -> Self {
        self.key = key.into();
        self.has_key = true;
        self
    }

    /// Sets the payload (the record's value).
    #[inline]
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Data<'a>>) -> Self {
        self.payload = payload.into();
        self.has_payload = true;
        self
    }

    /// Sets the partition. Producing rejects a negative one.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = partition;
        self.has_partition = true;
        self
    }

    /// Sets the creation time, in milliseconds since the Unix epoch. Producing rejects a negative one; librdkafka takes
    /// 0 for the time of hand-off.
    #[must_use]
    pub fn timestamp_millis(mut self, millis: i64) -> Self {
        self.timestamp = millis;
        self.has_timestamp = true;
        self
    }

    /// Sets how long after produce this record fails if it was not delivered, in place of the producer's delivery timeout
    /// if that is longer. Rounded up to milliseconds, at least 1, at most 49 days.
    ///
    /// The time begins with the call, so it covers the wait for room in a full pool: a record that finds none in its time is
    /// [`ProduceError::TimedOut`](crate::ProduceError::TimedOut). In `produce_all` it begins when it is the record's turn.
    ///
    /// # The status of a record that timed out
    /// As with the producer's timeout ([`delivery_timeout`](crate::Builder::delivery_timeout)): a record that is still in the
    /// producer's own buffer is `NotPersisted`. That is where it stays without a connection, and behind what its partition has in
    /// flight. A record that was handed to the backend is `PossiblyPersisted`, and its slot stays taken until the backend lets go of
    /// it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        self.timeout = Some(NonZeroU32::new(u32::try_from(millis).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// Lets the record, and what came before it in its lane, go without lingering in the producer.
    #[must_use]
    pub fn urgent(mut self) -> Self {
        self.urgent = true;
        self
    }

    /// The same, not urgent.
    pub(crate) fn calmed(mut self) -> Self {
        self.urgent = false;
        self
    }

    /// Adds a header. Order and duplicates are kept.
    #[must_use]
    pub fn header(self, name: impl Into<Cow<'a, str>>, value: impl Into<Data<'a>>) -> Self {
        self.with_header(Header::new(name.into(), Some(value.into())))
    }

    /// Adds a header whose value is null.
    #[must_use]
    pub fn null_header(self, name: impl Into<Cow<'a, str>>) -> Self {
        self.with_header(Header::new(name.into(), None))
    }

    fn with_header(mut self, header: Header<'a>) -> Self {
        self.headers.list_mut().push(header);
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic.name()
    }

    /// The key, `None` if it is null.
    #[must_use]
    pub fn get_key(&self) -> Option<&[u8]> {
        self.has_key.then(|| self.key.as_slice())
    }

    /// The payload, `None` if it is null.
    #[must_use]
    pub fn get_payload(&self) -> Option<&[u8]> {
        self.has_payload.then(|| self.payload.as_slice())
    }

    /// The partition, `None` if the producer is to choose.
    #[inline]
    #[must_use]
    pub fn get_partition(&self) -> Option<i32> {
        self.has_partition.then_some(self.partition)
    }

    /// The creation time in milliseconds since the Unix epoch, `None` for the time of sending.
    #[inline]
    #[must_use]
    pub fn get_timestamp_millis(&self) -> Option<i64> {
        self.has_timestamp.then_some(self.timestamp)
    }

    /// The record's own timeout, `None` for the producer's.
    #[must_use]
    pub fn get_timeout(&self) -> Option<Duration> {
        self.timeout.map(|millis| Duration::from_millis(u64::from(millis.get())))
    }

    /// Whether the record does not linger.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// The headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[Header<'a>] {
        self.headers.as_slice()
    }

    /// Its bytes: key, payload, and the headers' names and values. What it counts for in the pool may be more, see
    /// [`Builder::pool_bytes`](crate::Builder::pool_bytes).
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers().iter().map(Header::size).sum();
        self.key.as_slice().len() + self.payload.as_slice().len() + headers
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Record<'static> {
        Record {
            topic: self.topic.into_owned(),
            key: self.key.into_owned(),
            payload: self.payload.into_owned(),
            headers: Headers::from_list(self.headers.into_list().into_iter().map(Header::into_owned).collect()),
            timestamp: self.timestamp,
            partition: self.partition,
            timeout: self.timeout,
            urgent: self.urgent,
            has_key: self.has_key,
            has_payload: self.has_payload,
            has_timestamp: self.has_timestamp,
            has_partition: self.has_partition,
            trace: self.trace,
        }
    }

    /// Leaves an empty record.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Record::to(""))
    }

    pub(crate) fn topic_ref(&self) -> &TopicRef<'a> {
        &self.topic
    }

    /// Whether it borrows more than `limit` bytes in one part.
    pub(crate) fn lends_more_than(&self, limit: usize) -> bool {
        let values = self.headers().iter().filter_map(|header| header.value.as_ref());
        [&self.key, &self.payload].into_iter().chain(values).any(|part| part.lends_more_than(limit))
    }

    /// Copies each part of more than `limit` bytes that it borrows.
    pub(crate) fn own_more_than(&mut self, limit: usize) {
        let values = self.headers.iter_mut().filter_map(|header| header.value.as_mut());
        for part in [&mut self.key, &mut self.payload].into_iter().chain(values) {
            if part.lends_more_than(limit) {
                *part = std::mem::replace(part, Data::Borrowed(&[])).into_owned();
            }
        }
    }

    /// Whether it is a payload, and perhaps a partition, and little else.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.has_payload && !self.has_key && self.timeout.is_none() && self.headers.is_empty()
    }
}

/// Shows lengths, not contents.
impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("partition", &self.get_partition())
            .field("key", &self.has_key.then_some(&self.key))
            .field("payload", &self.has_payload.then_some(&self.payload))
            .field("timestamp_millis", &self.get_timestamp_millis())
            .field("headers", &self.headers())
            .field("timeout", &self.get_timeout())
            .field("urgent", &self.urgent)
            .finish()
    }
}

/// Equal contents are equal, no matter which of them owns its bytes.
impl PartialEq for Record<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.topic() == other.topic()
            && self.get_key() == other.get_key()
            && self.get_payload() == other.get_payload()
            && self.get_partition() == other.get_partition()
            && self.get_timestamp_millis() == other.get_timestamp_millis()
            && (self.timeout, self.urgent) == (other.timeout, other.urgent)
            && self.headers() == other.headers()
    }
}

impl Eq for Record<'_> {}

#[cfg(all(test, not(interleave)))]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn s08_null_and_empty_are_different() {
        let null = Record::to("t");
        assert_eq!((null.get_key(), null.get_payload()), (None, None));
        let empty = Record::to("t").key("").payload(Vec::new());
        assert_eq!((empty.get_key(), empty.get_payload()), (Some(&[][..]), Some(&[][..])));
        assert_ne!(null, empty);
        assert_ne!(Record::to("t").null_header("h"), Record::to("t").header("h", ""));
    }

    #[test]
    fn s08_headers_keep_order_duplicates_and_nulls() {
        let record = Record::to("t").header("b", "1").null_header("a").header(String::from("b"), vec![2]);
        let headers: Vec<_> = record.headers().iter().map(|header| (header.name(), header.value())).collect();
        assert_eq!(headers, [("b", Some(&b"1"[..])), ("a", None), ("b", Some(&[2][..]))]);
        assert_eq!(record.size(), 5);
    }

    #[test]
    fn ownership_does_not_matter_to_equality() {
        let topic = String::from("t");
        let borrowed = Record::to(&topic).key("k").payload(b"pay").header("h", &[1]).partition(3).timestamp_millis(0);
        assert_eq!(borrowed.clone().into_owned(), borrowed);
        assert_eq!(borrowed.size(), 6);
        let shared = Bytes::from_static(b"pay");
        assert_eq!(borrowed.clone().payload(&shared), borrowed);
        assert_ne!(borrowed.clone().partition(0), borrowed);
    }

    #[test]
    fn s08_long_parts_are_owned_short_ones_stay_lent() {
        let (short, long) = (vec![1; 10], vec![2; 11]);
        for (key, payload, value) in [(&short, &short, &short), (&long, &short, &short), (&short, &long, &long)] {
            let lent = Record::to("t").key(key).payload(payload).header("h", value).null_header("n");
            let mut record = lent.clone();
            assert_eq!(record.lends_more_than(10), [key, payload, value].iter().any(|part| part.len() > 10));
            record.own_more_than(10);
            assert!(!record.lends_more_than(10));
            for (part, given) in [(&record.key, key), (&record.payload, payload)] {
                assert_eq!(matches!(part, Data::Shared(_)), given.len() > 10);
            }
            assert_eq!(record, lent);
        }
    }

    #[test]
    fn debug_shows_no_contents() {
        let text = format!("{:?}", Record::to("t").key("secret").payload("secret").header("name", "secret"));
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("\"t\"") && text.contains("6 bytes") && text.contains("name"), "{text}");
    }

    #[test]
    fn records_may_borrow_from_what_is_younger_than_their_list() {
        let mut records: Vec<Record<'_>> = Vec::new();
        let text = String::from("text");
        records.push(Record::to("t").payload(&text).header("h", &text));
        assert_eq!(records[0].get_payload(), Some(text.as_bytes()));
    }

    #[test]
    fn a_record_is_cheap_to_move() {
        let size = size_of::<Record<'_>>() - size_of::<RecordSpan>();
        assert!(size <= 120, "{size}");
    }
}
