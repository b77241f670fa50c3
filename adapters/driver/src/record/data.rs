//! Keys, values and headers.

use std::{borrow::Cow, fmt};

use bytes::Bytes;

/// The bytes of a key, a payload or a header's value.
///
/// Borrowed bytes are copied when the record is accepted, and a backend may copy a short record again. [`Bytes`], `Vec<u8>`
/// and `String` are taken over and not copied, except those of records of up to 512 bytes without headers: if such a record
/// has a key or a partition, or is sent alone, it is copied, which costs less than keeping its memory. If it fails, the record
/// that comes back may be a copy.
///
/// ```
/// use aioproducer_driver::record::Data;
///
/// assert_eq!(Data::from("abc"), Data::from(vec![b'a', b'b', b'c']));
/// ```
#[derive(Clone)]
pub enum Data<'a> {
    /// Bytes that the caller keeps.
    Borrowed(&'a [u8]),
    /// Bytes that the record owns or shares.
    Shared(Bytes),
}

impl Data<'_> {
    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Whether these are more than `limit` borrowed bytes.
    pub(super) fn lends_more_than(&self, limit: usize) -> bool {
        matches!(self, Self::Borrowed(bytes) if bytes.len() > limit)
    }

    /// The bytes, copied only if they are borrowed.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes,
        }
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Data<'static> {
        Data::Shared(self.into_bytes())
    }
}

impl AsRef<[u8]> for Data<'_> {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Shows the length, not the contents.
impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_slice().len())
    }
}

/// Equal bytes are equal, no matter which of them owns its bytes.
impl PartialEq for Data<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Data<'_> {}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Data<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Data<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Data<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl<'a> From<&'a String> for Data<'a> {
    fn from(text: &'a String) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Shared(bytes.into())
    }
}

impl From<String> for Data<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl From<Bytes> for Data<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

/// Shares the bytes: nothing is copied.
impl From<&Bytes> for Data<'_> {
    fn from(bytes: &Bytes) -> Self {
        Self::Shared(bytes.clone())
    }
}

/// A header: a name and a value, which may be null.
///
/// ```
/// use aioproducer_driver::Record;
///
/// let record = Record::to("orders").header("trace", "4f2a");
/// let header = &record.headers()[0];
/// assert_eq!((header.name(), header.value()), ("trace", Some(&b"4f2a"[..])));
/// ```
#[derive(Clone)]
pub struct Header<'a> {
    pub(super) name: Name<'a>,
    pub(super) value: Option<Data<'a>>,
}

/// The headers of a record, in one word: most records have none, and a small record is cheap to move.
#[derive(Clone)]
#[expect(clippy::box_collection, reason = "a list takes three words where it is")]
pub(super) struct Headers<'a>(Option<Box<Vec<Header<'a>>>>);

impl<'a> Headers<'a> {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn from_list(list: Vec<Header<'a>>) -> Self {
        if list.is_empty() { Self::NONE } else { Self(Some(Box::new(list))) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[Header<'a>] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Header<'a>> {
        self.0.iter_mut().flat_map(|list| list.iter_mut())
    }

    pub(super) fn list_mut(&mut self) -> &mut Vec<Header<'a>> {
        self.0.get_or_insert_default()
    }

    pub(super) fn into_list(self) -> Vec<Header<'a>> {
        self.0.map_or_else(Vec::new, |list| *list)
    }

    /// Leaves none.
    pub(super) fn take(&mut self) -> Vec<Header<'a>> {
        std::mem::replace(self, Self::NONE).into_list()
    }
}

#[derive(Clone)]
pub(super) enum Name<'a> {
    Borrowed(&'a str),
    Owned(String),
    /// Made from a `str`.
    Shared(Bytes),
}

impl<'a> Header<'a> {
    pub(super) fn new(name: Cow<'a, str>, value: Option<Data<'a>>) -> Self {
        let name = match name {
            Cow::Borrowed(name) => Name::Borrowed(name),
            Cow::Owned(name) => Name::Owned(name),
        };
        Self { name, value }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Borrowed(name) => name,
            Name::Owned(name) => name,
            Name::Shared(name) => std::str::from_utf8(name).unwrap_or_default(),
        }
    }

    /// The value, `None` if it is null.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(Data::as_slice)
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Header<'static> {
        let name = match self.name {
            Name::Borrowed(name) => Name::Owned(name.to_owned()),
            Name::Owned(name) => Name::Owned(name),
            Name::Shared(name) => Name::Shared(name),
        };
        Header { name, value: self.value.map(Data::into_owned) }
    }

    pub(super) fn size(&self) -> usize {
        let name = match &self.name {
            Name::Borrowed(name) => name.len(),
            Name::Owned(name) => name.len(),
            Name::Shared(name) => name.len(),
        };
        name + self.value().map_or(0, <[u8]>::len)
    }
}

/// Shows the value's length, not its contents.
impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name()).field("value", &self.value).finish()
    }
}

impl PartialEq for Header<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.value == other.value
    }
}

impl Eq for Header<'_> {}
