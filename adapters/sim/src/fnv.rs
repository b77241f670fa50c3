//! FNV-1a: the same number on every machine, in every profile and with every compiler, which the standard library's hashers do not
//! promise.

use std::fmt;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    /// A part of a record: null and empty differ, and so do `ab`, `c` and `a`, `bc`.
    pub(crate) fn part(&mut self, part: Option<&[u8]>) {
        match part {
            None => self.bytes(&[0]),
            Some(bytes) => {
                self.bytes(&[1]);
                self.bytes(&(bytes.len() as u32).to_le_bytes());
                self.bytes(bytes);
            }
        }
    }

    pub(crate) fn sum(self) -> u64 {
        self.0
    }
}

/// Text, without a copy of it.
impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn of(parts: &[Option<&[u8]>]) -> u64 {
        let mut sum = Fnv::default();
        parts.iter().for_each(|part| sum.part(*part));
        sum.sum()
    }

    #[test]
    fn it_is_fnv_1a_and_parts_differ() {
        let mut sum = Fnv::default();
        ["foo", "bar"].iter().try_for_each(|text| write!(sum, "{text}")).unwrap();
        assert_eq!(sum.sum(), 0x8594_4171_f739_67e8);
        assert_ne!(of(&[None]), of(&[Some(b"")]));
        assert_ne!(of(&[Some(b"ab"), Some(b"c")]), of(&[Some(b"a"), Some(b"bc")]));
    }
}
