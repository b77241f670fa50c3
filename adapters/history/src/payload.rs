//! What a record's payload is compared by, and how a finding shows it.

use std::ops::Range;

/// Bytes of a payload that a finding shows.
const SHOWN: usize = 32;

/// A payload, as it was given or as it was read.
///
/// A history keeps 64 bits of it, and its first 32 bytes if they are text. Two payloads are the same if their hashes are, so those who
/// want to compare keys and headers, too, hash them together with the payload.
///
/// ```
/// use aioproducer_history::Payload;
///
/// assert_eq!(Payload::from("two apples"), Payload::Bytes(b"two apples"));
/// // Null and empty differ.
/// assert_eq!(Payload::from(None), Payload::Null);
/// assert_ne!(Payload::from(""), Payload::Null);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// A hash of the bytes, by a function of the caller's. It is compared with other hashes of the caller's only.
    Hash(u64),
    /// No payload: a tombstone.
    Null,
}

impl<'a> Payload<'a> {
    /// FNV-1a with a last multiplication that mixes the high bits: short, and the same on every machine.
    pub(crate) fn hash(self) -> u64 {
        match self {
            Self::Bytes(bytes) => hash(bytes),
            Self::Hash(hash) => hash,
            Self::Null => 0,
        }
    }

    /// The beginning of a text, if it is one.
    pub(crate) fn text(self) -> Option<&'a str> {
        let Self::Bytes(bytes) = self else { return None };
        let text = std::str::from_utf8(bytes).ok()?;
        let mut end = text.len().min(SHOWN);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let shown = &text[..end];
        (!shown.is_empty() && !shown.contains(char::is_control)).then_some(shown)
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Payload<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a String> for Payload<'a> {
    fn from(text: &'a String) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl<'a> From<Option<&'a [u8]>> for Payload<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Self::Null, Self::Bytes)
    }
}

/// The hash of a payload's bytes, or of a key.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Texts of many payloads, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(String);

impl Texts {
    /// Keeps the beginning of a payload, if it is text.
    pub(crate) fn keep(&mut self, payload: Payload<'_>) -> Range<usize> {
        let begin = self.0.len();
        self.0.push_str(payload.text().unwrap_or_default());
        begin..self.0.len()
    }

    pub(crate) fn get(&self, at: &Range<usize>) -> Option<&str> {
        (!at.is_empty()).then(|| &self.0[at.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_other_bytes_are_not_shown() {
        let long = "a".repeat(SHOWN - 1) + "ä";
        assert_eq!(Payload::from(&long).text(), Some(&long[..SHOWN - 1]));
        assert_eq!(Payload::from("order 55").text(), Some("order 55"));
        for other in [&[0, 1][..], b"", b"\xff", b"a\n"] {
            assert_eq!(Payload::from(other).text(), None, "{other:?}");
        }
    }

    #[test]
    fn null_empty_and_others_have_different_hashes() {
        let hashes = [Payload::Null, Payload::from(""), Payload::from("a"), Payload::from("b")].map(Payload::hash);
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{hashes:?}");
        }
    }
}
