//! What a record counts for in the pool: its bytes, and what they cost where they are kept.
//!
//! What each record costs whatever it holds, such as its slot and librdkafka's message, is covered by the number of slots, see [`Builder::pool_bytes`](crate::Builder::pool_bytes).

use super::data::{Header, Name};
use super::{Data, Record};

/// A list of headers: librdkafka's own, and blocks of an allocator.
const LIST: usize = 96;

/// A header, besides its bytes: librdkafka's description, its place in the list and the allocator's share, 72 bytes; two
/// numbers of ours; and some of what it takes once more when the record has failed and is given back.
const PACKED: usize = 104;

/// A header that is not packed: librdkafka's 72 bytes, and our description of it.
const APART: usize = 152;

const _: () = assert!(size_of::<Header<'static>>() <= 80);

/// A name or a value in memory of its own.
const PIECE: usize = 48;

impl Record<'_> {
    /// The bytes that count against the backend's limit for one record: its [size](Record::size), and the lengths of its headers'
    /// names and values.
    #[inline(always)]
    pub(crate) fn written_size(&self) -> usize {
        let size = self.size();
        if self.headers.is_empty() { size } else { size.saturating_add(of_lengths(self)) }
    }

    /// The bytes that it counts for in the pool. Keys and headers count twice, since librdkafka copies them, and each header
    /// for what it takes besides its bytes.
    #[inline(always)]
    pub(crate) fn cost(&self) -> usize {
        let key = self.key.as_slice().len();
        let cost = key.saturating_add(self.size());
        if self.headers.is_empty() { cost } else { cost.saturating_add(of_headers(self)) }
    }
}

/// What the lengths of a record's headers take where they are written (Kafka's varints).
fn of_lengths(record: &Record<'_>) -> usize {
    let headers = record.headers.as_slice().iter();
    headers.map(|header| varint(header.name().len()) + varint(header.value().map_or(0, <[u8]>::len))).sum()
}

/// The bytes of a length: 6 bits in the first, 7 in each other.
fn varint(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()) as usize + 1;
    bits.div_ceil(7)
}

/// What a record's headers cost beyond their bytes once, 0 if it has none.
pub(super) fn of_headers(record: &Record<'_>) -> usize {
    let headers = record.headers.as_slice();
    if headers.is_empty() {
        return 0;
    }
    let bytes: usize = headers.iter().map(Header::size).sum();
    let pieces: usize = headers.iter().map(pieces).sum();
    let lent =
        record.has_payload && [&record.key, &record.payload].iter().all(|part| matches!(part, Data::Borrowed(_)));
    let each = if lent && pieces == 0 { PACKED } else { APART };
    LIST + bytes + headers.len() * each + pieces * PIECE
}

/// The same of `count` headers that are packed and have so many `bytes`.
pub(super) fn of_packed(count: usize, bytes: usize) -> usize {
    LIST + bytes + count * PACKED
}

/// The parts of a header that are not copied into one piece with the others.
fn pieces(header: &Header<'_>) -> usize {
    usize::from(!matches!(header.name, Name::Borrowed(_))) + usize::from(matches!(header.value, Some(Data::Shared(_))))
}
