//! Topic names and the numbers that stand for them inside.

use std::{collections::HashMap, error::Error, fmt, sync::PoisonError};

use aioproducer_core::TopicId;

use crate::runtime::sync::{Arc, AtomicU32, Ordering, RwLock};

/// The longest topic name that Kafka takes, in bytes.
const MAX_NAME: usize = 249;

/// The partition of a record, as far as it is known.
pub(crate) type TopicPartition = (TopicId, i32);

/// The partition of a record that ended without one.
pub(crate) const NO_PARTITION: i32 = -1;

/// Places that remember which topic was asked for last; a power of two.
const HINTS: usize = 64;

const NO_HINT: u32 = u32::MAX;

/// A topic that one producer knows: naming it in a record needs no look-up.
///
/// [`AioProducer::topic`](crate::AioProducer::topic) makes it; it is cheap to clone. With another producer it works like the
/// topic's name.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record, SendError, error::TopicError};
/// # use aioproducer_driver::record::Topic;
/// struct Orders {
///     producer: AioProducer,
///     topic: Topic,
/// }
///
/// impl Orders {
///     fn new(producer: AioProducer) -> Result<Self, TopicError> {
///         Ok(Self { topic: producer.topic("orders")?, producer })
///     }
///
///     async fn place(&self, order: &[u8]) -> Result<(), SendError> {
///         self.producer.send(Record::to(&self.topic).payload(order)).await.map(drop)
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Topic {
    id: TopicId,
    topics: Arc<Topics>,
}

impl Topic {
    /// Interns `name` in `topics`.
    pub(crate) fn new(topics: &Arc<Topics>, name: &str) -> Result<Self, TopicError> {
        Ok(Self { id: topics.intern(name)?, topics: Arc::clone(topics) })
    }

    /// A topic that `topics` has given a number.
    pub(crate) fn known(topics: &Arc<Topics>, id: TopicId) -> Self {
        Self { id, topics: Arc::clone(topics) }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.topics.name(self.id).unwrap_or_default()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name()).finish()
    }
}

/// Topics are equal when their names are.
impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Topic {}

/// A record's destination: a topic's name, or a [`Topic`].
///
/// ```
/// use aioproducer_driver::Record;
/// use aioproducer_driver::record::TopicRef;
///
/// /// Takes all that names a topic.
/// fn empty<'a>(topic: impl Into<TopicRef<'a>>) -> Record<'a> {
///     Record::to(topic).payload("")
/// }
/// assert_eq!(empty("orders").topic(), "orders");
/// ```
#[derive(Clone)]
pub struct TopicRef<'a>(Target<'a>);

#[derive(Clone)]
enum Target<'a> {
    Name(&'a str),
    OwnedName(String),
    Topic(&'a Topic),
    OwnedTopic(Topic),
}

impl TopicRef<'_> {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Target::Name(name) => name,
            Target::OwnedName(name) => name,
            Target::Topic(topic) => topic.name(),
            Target::OwnedTopic(topic) => topic.name(),
        }
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> TopicRef<'static> {
        TopicRef(match self.0 {
            Target::Name(name) => Target::OwnedName(name.to_owned()),
            Target::OwnedName(name) => Target::OwnedName(name),
            Target::Topic(topic) => Target::OwnedTopic(topic.clone()),
            Target::OwnedTopic(topic) => Target::OwnedTopic(topic),
        })
    }

    fn topic(&self) -> Option<&Topic> {
        match &self.0 {
            Target::Topic(topic) => Some(topic),
            Target::OwnedTopic(topic) => Some(topic),
            Target::Name(_) | Target::OwnedName(_) => None,
        }
    }
}

impl fmt::Debug for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name(), f)
    }
}

impl<'a> From<&'a str> for TopicRef<'a> {
    fn from(name: &'a str) -> Self {
        Self(Target::Name(name))
    }
}

impl<'a> From<&'a String> for TopicRef<'a> {
    fn from(name: &'a String) -> Self {
        Self(Target::Name(name))
    }
}

impl From<String> for TopicRef<'_> {
    fn from(name: String) -> Self {
        Self(Target::OwnedName(name))
    }
}

impl<'a> From<&'a Topic> for TopicRef<'a> {
    fn from(topic: &'a Topic) -> Self {
        Self(Target::Topic(topic))
    }
}

impl From<Topic> for TopicRef<'_> {
    fn from(topic: Topic) -> Self {
        Self(Target::OwnedTopic(topic))
    }
}

/// Why a topic's name was rejected.
///
/// ```
/// # use aioproducer_driver::{AioProducer, error::TopicError};
/// fn is_reserved(producer: &AioProducer) -> bool {
///     producer.topic("..") == Err(TopicError::Reserved)
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// The name is empty.
    Empty,
    /// The name has more than 249 bytes.
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The name has a character other than `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
    InvalidCharacter {
        /// The first such character.
        character: char,
        /// Its place in the name, in bytes.
        at: usize,
    },
    /// The names `.` and `..` are not allowed.
    Reserved,
    /// The producer knows as many topics as it may.
    TooMany {
        /// How many that is, see [`Builder::topics`](crate::Builder::topics).
        limit: usize,
    },
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the topic's name is empty"),
            Self::TooLong { len } => write!(f, "the topic's name has {len} bytes, more than {MAX_NAME}"),
            Self::InvalidCharacter { character, at } => {
                write!(f, "the topic's name has {character:?} at byte {at}: not one of a-z, A-Z, 0-9, '.', '_', '-'")
            }
            Self::Reserved => write!(f, "the topic's name is \".\" or \"..\", which Kafka reserves"),
            Self::TooMany { limit } => {
                write!(f, "the producer knows {limit} topics and takes no more; its setting `topics` is the limit")
            }
        }
    }
}

impl Error for TopicError {}

/// The topics of one producer. Numbers are given in order and never change.
pub(crate) struct Topics {
    names: boxcar::Vec<Box<str>>,
    ids: RwLock<HashMap<Box<str>, TopicId>>,
    /// By a cheap hash of the name: the topic found there last. Only ever a guess, the name is compared.
    hints: [AtomicU32; HINTS],
    /// Names are kept for as long as the producer lives, here and by the backend, so their number has a limit.
    limit: usize,
}

impl Topics {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            names: boxcar::Vec::new(),
            ids: RwLock::new(HashMap::new()),
            hints: std::array::from_fn(|_| AtomicU32::new(NO_HINT)),
        }
    }

    /// The number of the topic `name`, a new one if the name was not seen before.
    pub(crate) fn intern(&self, name: &str) -> Result<TopicId, TopicError> {
        let hint = &self.hints[hint_of(name.as_bytes())];
        let guess = TopicId(hint.load(Ordering::Relaxed));
        if self.name(guess) == Some(name) {
            return Ok(guess);
        }
        let id = self.look_up(name)?;
        hint.store(id.0, Ordering::Relaxed);
        Ok(id)
    }

    /// The number of a record's topic.
    #[inline]
    pub(crate) fn resolve(&self, topic: &TopicRef<'_>) -> Result<TopicId, TopicError> {
        match topic.topic() {
            Some(topic) if std::ptr::eq(&*topic.topics, self) => Ok(topic.id),
            _ => self.intern(topic.name()),
        }
    }

    /// The number of a topic that was seen before.
    pub(crate) fn known(&self, topic: &TopicRef<'_>) -> Option<TopicId> {
        match topic.topic() {
            Some(topic) if std::ptr::eq(&*topic.topics, self) => Some(topic.id),
            _ => self.ids.read().unwrap_or_else(PoisonError::into_inner).get(topic.name()).copied(),
        }
    }

    /// The name of topic `id`. Takes no lock.
    pub(crate) fn name(&self, id: TopicId) -> Option<&str> {
        self.names.get(id.0 as usize).map(|name| &**name)
    }

    fn look_up(&self, name: &str) -> Result<TopicId, TopicError> {
        if let Some(&id) = self.ids.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(id);
        }
        validate(name)?;
        let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&id) = ids.get(name) {
            return Ok(id);
        }
        if ids.len() >= self.limit {
            return Err(TopicError::TooMany { limit: self.limit });
        }
        // Only the holder of the write lock pushes, so the index is the count, far below u32::MAX.
        let id = TopicId(self.names.push(name.into()) as u32);
        ids.insert(name.into(), id);
        Ok(id)
    }
}

/// Checks a name as the broker does.
pub(crate) fn validate(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    let legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if let Some((at, character)) = name.char_indices().find(|&(_, character)| !legal(character)) {
        return Err(TopicError::InvalidCharacter { character, at });
    }
    if name.len() > MAX_NAME {
        return Err(TopicError::TooLong { len: name.len() });
    }
    if name == "." || name == ".." {
        return Err(TopicError::Reserved);
    }
    Ok(())
}

/// Names of one application tend to differ in length or near their end.
fn hint_of(name: &[u8]) -> usize {
    let tail = match name.last_chunk::<8>() {
        Some(tail) => u64::from_le_bytes(*tail),
        None => name.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    };
    let mixed = (tail ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - HINTS.ilog2())) as usize
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_names_come_back() {
        let topics = Topics::new(usize::MAX);
        let names: Vec<String> = (0..1000).map(|n| format!("topic-{n}")).collect();
        for round in 0..3 {
            for (n, name) in names.iter().enumerate() {
                assert_eq!(topics.intern(name), Ok(TopicId(n as u32)), "round {round}");
            }
        }
        assert_eq!(topics.name(TopicId(7)), Some("topic-7"));
        assert_eq!(topics.name(TopicId(1000)), None);
        assert_eq!(topics.name(TopicId(NO_HINT)), None);
    }

    #[test]
    fn s21_more_topics_than_the_limit_are_refused_and_those_before_go_on() {
        let topics = Topics::new(2);
        assert_eq!([topics.intern("a"), topics.intern("b")], [Ok(TopicId(0)), Ok(TopicId(1))]);
        let error = topics.intern("c").unwrap_err();
        assert_eq!(error, TopicError::TooMany { limit: 2 });
        assert!(error.to_string().contains("2 topics") && error.to_string().contains("`topics`"), "{error}");
        assert_eq!([topics.intern("a"), topics.intern("b")], [Ok(TopicId(0)), Ok(TopicId(1))]);
        assert_eq!(topics.intern("."), Err(TopicError::Reserved), "an invalid name is no matter of the limit");
    }

    #[test]
    fn names_that_share_a_hint_are_distinguished() {
        let topics = Topics::new(usize::MAX);
        // Same length and same last eight bytes.
        let (a, b) = ("aa.suffix-8", "bb.suffix-8");
        assert_eq!(hint_of(a.as_bytes()), hint_of(b.as_bytes()));
        for _ in 0..3 {
            assert_eq!(topics.intern(a), Ok(TopicId(0)));
            assert_eq!(topics.intern(b), Ok(TopicId(1)));
        }
    }

    #[test]
    fn a_refused_name_is_refused_with_its_reason() {
        let topics = Topics::new(usize::MAX);
        for _ in 0..2 {
            assert_eq!(topics.intern(""), Err(TopicError::Empty));
            assert_eq!(topics.intern("."), Err(TopicError::Reserved));
            assert_eq!(topics.intern(".."), Err(TopicError::Reserved));
            assert_eq!(topics.intern(&"x".repeat(250)), Err(TopicError::TooLong { len: 250 }));
            assert_eq!(topics.intern("a\0b"), Err(TopicError::InvalidCharacter { character: '\0', at: 1 }));
            assert_eq!(topics.intern("é"), Err(TopicError::InvalidCharacter { character: 'é', at: 0 }));
            assert_eq!(topics.intern("a b"), Err(TopicError::InvalidCharacter { character: ' ', at: 1 }));
        }
        assert_eq!(topics.intern("..."), Ok(TopicId(0)));
        assert_eq!(topics.intern(&"x".repeat(249)), Ok(TopicId(1)));
        assert!(TopicError::InvalidCharacter { character: '\0', at: 1 }.to_string().contains("'\\0' at byte 1"));
    }

    #[test]
    fn a_topic_of_another_producer_goes_by_its_name() {
        let (ours, theirs) = (Arc::new(Topics::new(usize::MAX)), Arc::new(Topics::new(usize::MAX)));
        ours.intern("first").unwrap();
        let topic = Topic::new(&theirs, "second").unwrap();
        assert_eq!(theirs.resolve(&TopicRef::from(&topic)), Ok(TopicId(0)));
        assert_eq!(ours.resolve(&TopicRef::from(&topic)), Ok(TopicId(1)));
    }

    #[test]
    fn threads_agree_on_numbers() {
        let topics = Topics::new(usize::MAX);
        let seen: Vec<Vec<TopicId>> = std::thread::scope(|scope| {
            let ask = || (0..200).map(|n| topics.intern(&format!("t{n}")).unwrap()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|ids| *ids == seen[0]));
        for (n, &id) in seen[0].iter().enumerate() {
            assert_eq!(topics.name(id), Some(format!("t{n}").as_str()));
        }
    }
}
