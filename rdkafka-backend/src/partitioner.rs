//! Which partition a key belongs to.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Chooses the partition of records that have a key and name no partition.
///
/// Records without a key stick to one partition for a while, then move to another one that has a leader. An empty key is
/// a key.
#[non_exhaustive]
#[derive(Clone, Default)]
pub enum Partitioner {
    /// What Kafka's Java client does: `(murmur2(key) & 0x7fffffff) % count`. The default.
    #[default]
    Murmur2,
    /// What librdkafka does unless told otherwise (`consistent`): `crc32(key) % count`.
    Crc32,
    /// The application's own.
    Custom(Arc<dyn Partition>),
}

/// An application's own rule for keys.
///
/// ```
/// use std::sync::Arc;
///
/// use aioproducer_rdkafka::{Partition, Partitioner};
///
/// /// The key's first byte decides.
/// struct FirstByte;
///
/// impl Partition for FirstByte {
///     fn partition(&self, key: &[u8], count: i32) -> i32 {
///         i32::from(key.first().copied().unwrap_or(0)) % count
///     }
/// }
/// let _ = Partitioner::Custom(Arc::new(FirstByte));
/// ```
pub trait Partition: Send + Sync {
    /// The partition for `key`, from 0 to `count - 1`, where `count` is at least 1.
    ///
    /// It is called for each record, on a worker thread, on the thread that produces a record which is alone, and at times
    /// on a thread of librdkafka that holds a lock of the topic: it must be quick and must not wait. A record for which it panics or answers out of range fails with
    /// [`UnknownPartition`](aioproducer_core::backend::FailureKind::UnknownPartition).
    fn partition(&self, key: &[u8], count: i32) -> i32;
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Murmur2 => "Murmur2",
            Self::Crc32 => "Crc32",
            Self::Custom(_) => "Custom",
        })
    }
}

impl Partitioner {
    /// The partition for `key` of `count`; `None` if the application's rule has no valid answer.
    pub(crate) fn choose(&self, key: &[u8], count: i32) -> Option<i32> {
        match self {
            Self::Murmur2 => ((murmur2(key) & 0x7fff_ffff) as i32).checked_rem(count),
            Self::Crc32 => crc32(key).checked_rem(count as u32).map(|partition| partition as i32),
            Self::Custom(rule) => {
                let answer = catch_unwind(AssertUnwindSafe(|| rule.partition(key, count))).ok()?;
                (0..count).contains(&answer).then_some(answer)
            }
        }
    }
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The CRC of zlib and IEEE 802.3.
fn crc32(key: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut entry = index as u32;
            let mut bit = 0;
            while bit < 8 {
                entry = if entry & 1 == 1 { (entry >> 1) ^ 0xedb8_8320 } else { entry >> 1 };
                bit += 1;
            }
            table[index] = entry;
            index += 1;
        }
        table
    };
    !key.iter().fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_javas() {
        let known: [(&str, i32); 8] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("kafka", 0xd067_cf64_u32 as i32),
            ("", 0x106e_08d9),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn crc32_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_rule_out_of_range_has_no_answer() {
        struct Fixed(i32);
        impl Partition for Fixed {
            fn partition(&self, _key: &[u8], _count: i32) -> i32 {
                self.0
            }
        }
        let choose = |answer| Partitioner::Custom(Arc::new(Fixed(answer))).choose(b"k", 3);
        assert_eq!([-1, 0, 2, 3].map(choose), [None, Some(0), Some(2), None]);
    }
}
