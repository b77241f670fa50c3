//! How a record's bytes become the producer's own: copied in one piece, copied part by part, or taken over.

use bytes::{BufMut, Bytes};

use super::arena::Arena;
use super::data::Name;
use super::packed::{self, Packed};
use super::{Data, Header, Record};

/// The longest record that is worth copying once more, in bytes.
pub(super) const SHORT: usize = 512;

/// What stands in front of the payload: headers, if they are packed, and the key's bytes, if they are not apart. And
/// whether the record is urgent, and whether its partition was chosen by its key.
#[derive(Clone, Copy)]
pub(super) struct Front(pub(super) u32);

impl Front {
    const PACKED: u32 = 1 << 31;
    pub(super) const URGENT: u32 = 1 << 30;
    pub(super) const PLACED: u32 = 1 << 29;
    pub(super) const NO_KEY: u32 = Self::PLACED - 1;
    pub(super) const NONE: Self = Self(Self::NO_KEY);

    pub(super) fn new(packed: bool, key: Option<&[u8]>) -> Self {
        Self(key.map_or(Self::NO_KEY, |key| key.len() as u32) | if packed { Self::PACKED } else { 0 })
    }

    /// The key's length, `None` if it is apart or null.
    pub(super) fn key_len(self) -> Option<usize> {
        let len = self.0 & Self::NO_KEY;
        (len != Self::NO_KEY).then_some(len as usize)
    }

    pub(super) fn has_headers(self) -> bool {
        self.0 & Self::PACKED != 0
    }

    pub(super) fn is_urgent(self) -> bool {
        self.0 & Self::URGENT != 0
    }

    pub(super) fn is_placed(self) -> bool {
        self.0 & Self::PLACED != 0
    }

    /// Whether there is no headers and no key in front.
    pub(super) fn is_plain(self) -> bool {
        self.0 & !Self::URGENT == Self::NO_KEY
    }
}

/// Copies headers, key and payload in one piece, if the record has a payload and borrows all of them, or is short and has a
/// key or a partition: a backend copies such a record anyway. What the record owns stays in it, so that it is dropped where no
/// lock is held.
pub(super) fn one_piece(record: &Record<'_>, arena: &mut Arena) -> Option<(Front, Bytes)> {
    let (payload, key) = (record.payload.as_slice(), record.key.as_slice());
    if !record.has_payload || key.len() >= Front::NO_KEY as usize {
        return None;
    }
    let lent = matches!((&record.payload, &record.key), (Data::Borrowed(_), Data::Borrowed(_)));
    let is_copied = record.has_key || record.has_partition;
    let short = record.headers.is_empty() && key.len() + payload.len() <= SHORT;
    if !(lent || is_copied && short) {
        return None;
    }
    let front = Front::new(!record.headers.is_empty(), record.has_key.then_some(key));
    if record.headers.is_empty() {
        return Some((front, arena.copy_both(key, payload)));
    }
    let headers = packed::len(record.headers.as_slice())?;
    let data = arena.build(headers + key.len() + payload.len(), |out| {
        packed::write(record.headers.as_slice(), headers, out);
        out.put_slice(key);
        out.put_slice(payload);
    });
    Some((front, data))
}

/// The headers of a packed block, each sharing the block's memory.
pub(super) fn unpack(block: &Bytes) -> Vec<Header<'static>> {
    let packed = Packed(block);
    let headers = (0..packed.count()).filter_map(|index| packed.get(index));
    let header = |(name, value): (&str, Option<&[u8]>)| Header {
        name: Name::Shared(block.slice_ref(name.as_bytes())),
        value: value.map(|value| Data::Shared(block.slice_ref(value))),
    };
    headers.map(header).collect()
}

/// Takes `data` over, or copies it if it is borrowed.
pub(super) fn own(data: &mut Data<'_>, arena: &mut Arena) -> Bytes {
    match std::mem::replace(data, Data::Borrowed(&[])) {
        Data::Borrowed(bytes) => arena.copy(bytes),
        Data::Shared(bytes) => bytes,
    }
}

/// Copies all borrowed names and values in one piece.
pub(super) fn own_headers(headers: Vec<Header<'_>>, arena: &mut Arena) -> Vec<Header<'static>> {
    let borrowed: usize = headers.iter().flat_map(borrowed_parts).map(<[u8]>::len).sum();
    let mut copy = arena.build(borrowed, |out| headers.iter().flat_map(borrowed_parts).for_each(|part| out.put(part)));
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
    let mut owned: Vec<_> = headers.into_iter().map(own).collect();
    owned.shrink_to_fit();
    owned
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
