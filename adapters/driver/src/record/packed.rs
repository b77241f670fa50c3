//! Headers in one piece of memory, which stands in front of the record's key and payload: no allocation, no reference
//! count of their own.
//!
//! ```text
//! count, length of all │ ends of name 0 and value 0 │ … │ name 0, value 0, name 1, …
//! ```
//!
//! Every number is a `u32` in native order; ends count from the first name. A null value has the end of its name, marked.

use bytes::{BufMut, BytesMut};

use super::Data;
use super::data::{Header, Name};

const WORD: usize = size_of::<u32>();

/// Words before the ends: how many headers there are, and the length of everything in bytes.
const LEAD: usize = 2;

/// Marks the end of a null value.
const NULL: u32 = 1 << 31;

/// The bytes that `headers` take when they are packed. `None` if they are not packed: there are none, a name or a
/// value is owned or shared, or they are larger than any broker takes.
pub(super) fn len(headers: &[Header<'_>]) -> Option<usize> {
    let mut len = headers.len().checked_mul(2)?.checked_add(LEAD)?.checked_mul(WORD)?;
    for header in headers {
        let (name, value) = parts(header)?;
        len = len.checked_add(name.len())?.checked_add(value.map_or(0, <[u8]>::len))?;
    }
    (!headers.is_empty() && len < NULL as usize).then_some(len)
}

/// Writes `headers`, of which [`len`] said that they take `len` bytes.
pub(super) fn write(headers: &[Header<'_>], len: usize, out: &mut BytesMut) {
    out.put_u32_ne(headers.len() as u32);
    out.put_u32_ne(len as u32);
    let mut end = 0;
    for (name, value) in headers.iter().filter_map(parts) {
        end += name.len() as u32;
        out.put_u32_ne(end);
        end += value.map_or(0, <[u8]>::len) as u32;
        out.put_u32_ne(if value.is_some() { end } else { end | NULL });
    }
    for (name, value) in headers.iter().filter_map(parts) {
        out.put_slice(name);
        out.put_slice(value.unwrap_or_default());
    }
}

fn parts<'h>(header: &'h Header<'_>) -> Option<(&'h [u8], Option<&'h [u8]>)> {
    match (&header.name, &header.value) {
        (Name::Borrowed(name), None) => Some((name.as_bytes(), None)),
        (Name::Borrowed(name), Some(Data::Borrowed(value))) => Some((name.as_bytes(), Some(value))),
        _ => None,
    }
}

/// Packed headers, and whatever stands behind them.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

impl<'a> Packed<'a> {
    pub(super) fn count(self) -> usize {
        self.word(0)
    }

    /// The bytes of names and values.
    pub(super) fn bytes(self) -> usize {
        self.len() - (LEAD + 2 * self.count()) * WORD
    }

    /// In bytes.
    pub(super) fn len(self) -> usize {
        self.word(1)
    }

    pub(super) fn get(self, index: usize) -> Option<(&'a str, Option<&'a [u8]>)> {
        if index >= self.count() {
            return None;
        }
        let at = LEAD + 2 * index;
        let start = if index == 0 { 0 } else { self.word(at - 1) & !(NULL as usize) };
        let (name_end, value_end) = (self.word(at), self.word(at + 1));
        let bytes = &self.0[(LEAD + 2 * self.count()) * WORD..];
        let name = std::str::from_utf8(&bytes[start..name_end]).unwrap_or_default();
        let value = (value_end & NULL as usize == 0).then(|| &bytes[name_end..value_end]);
        Some((name, value))
    }

    fn word(self, index: usize) -> usize {
        let mut word = [0; WORD];
        word.copy_from_slice(&self.0[index * WORD..][..WORD]);
        u32::from_ne_bytes(word) as usize
    }
}
