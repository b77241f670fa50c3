//! Which partition a key belongs to.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Chooses the partition of records that name none.
///
/// Each rule but [`Custom`](Self::Custom) has the name of one of librdkafka's (`partitioner`) and does the same; a test
/// compares them key by key. `count` is the number of the topic's partitions.
///
/// | librdkafka's name | rule | no key | empty key | any other key |
/// | --- | --- | --- | --- | --- |
/// | `murmur2_random` | `Murmur2Random`, the default | sticks | hashed | `(murmur2(key) & 0x7fffffff) % count` |
/// | `murmur2` | `Murmur2` | as an empty key | hashed | `(murmur2(key) & 0x7fffffff) % count` |
/// | `consistent_random` | `ConsistentRandom` | sticks | sticks | `crc32(key) % count` |
/// | `consistent` | `Consistent` | partition 0 | partition 0 | `crc32(key) % count` |
/// | `fnv1a_random` | `Fnv1aRandom` | sticks | hashed | `abs(fnv1a(key)) % count` |
/// | `fnv1a` | `Fnv1a` | as an empty key | hashed | `abs(fnv1a(key)) % count` |
/// | `random` | `Random` | sticks | random | random |
///
/// Where librdkafka says *random* of records without a key, they stick to one partition for a while, then move to another one
/// that has a leader, there as here (KIP-480). Here that while ends after `sticky.partitioning.linger.ms` or, as in Kafka's
/// Java client, when the partition has got `batch.size` bytes (KIP-794); with `sticky.partitioning.linger.ms=0` it is one batch.
#[non_exhaustive]
#[derive(Clone, Default)]
pub enum Partitioner {
    /// By a key's murmur2, as Kafka's Java client does. Records without a key stick.
    #[default]
    Murmur2Random,
    /// By a key's murmur2. No key is like an empty one: all of these go to one partition.
    Murmur2,
    /// By a key's CRC32, as librdkafka does unless it is told otherwise. Records without a key and with an empty one stick.
    ConsistentRandom,
    /// By a key's CRC32. Records without a key and with an empty one go to partition 0.
    Consistent,
    /// By a key's FNV-1a, as Sarama does. Records without a key stick.
    Fnv1aRandom,
    /// By a key's FNV-1a. No key is like an empty one: all of these go to one partition.
    Fnv1a,
    /// Each record with a key to any partition that has a leader, so equal keys have no order. Records without a key stick.
    Random,
    /// The application's own, for records with keys, also empty ones. Records without a key stick.
    Custom(Arc<dyn Partition>),
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Partition(i32),
    /// Where those without a key go for the time being.
    Sticky,
    Anywhere,
    /// The application's rule has no valid answer.
    Nowhere,
}

/// A record with a key that is about to get its partition.
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct ToPartition<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The key; it may be empty.
    pub key: &'a [u8],
    /// The value, `None` if it is null, or if the rule [does not read it](Partition::reads_value).
    pub value: Option<&'a [u8]>,
    /// How many partitions the topic has, at least 1.
    pub partitions: i32,
}

/// Shows lengths, not contents.
impl fmt::Debug for ToPartition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToPartition")
            .field("topic", &self.topic)
            .field("key", &format_args!("{} bytes", self.key.len()))
            .field("value", &self.value.map(<[u8]>::len))
            .field("partitions", &self.partitions)
            .finish()
    }
}

/// An application's own rule for records with keys. A closure is one; [`Partitioner::custom`] takes it.
///
/// ```
/// use std::sync::Arc;
///
/// use aioproducer_rdkafka::{Partition, Partitioner, ToPartition};
///
/// /// The key's first byte decides.
/// struct FirstByte;
///
/// impl Partition for FirstByte {
///     fn partition(&self, record: ToPartition<'_>) -> i32 {
///         i32::from(record.key.first().copied().unwrap_or(0)) % record.partitions
///     }
///
///     fn reads_value(&self) -> bool {
///         false
///     }
/// }
/// let _ = Partitioner::Custom(Arc::new(FirstByte));
/// ```
pub trait Partition: Send + Sync {
    /// The partition for `record`, from 0 to one less than its topic has.
    ///
    /// It is called for each record, on a worker thread, on the thread that produces a record which is alone, and at times
    /// on a thread of librdkafka that holds a lock of the topic: it must be quick and must not wait. A record for which it panics or answers out of range fails with
    /// [`UnknownPartition`](aioproducer_core::backend::FailureKind::UnknownPartition).
    fn partition(&self, record: ToPartition<'_>) -> i32;

    /// Whether the rule reads the record's value; asked once for each topic. A rule that does not is cheaper: short records are
    /// copied then where that costs less, while one that does needs each of them to stay where it is.
    fn reads_value(&self) -> bool {
        true
    }
}

impl<F: Fn(ToPartition<'_>) -> i32 + Send + Sync> Partition for F {
    fn partition(&self, record: ToPartition<'_>) -> i32 {
        self(record)
    }
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Murmur2Random => "Murmur2Random",
            Self::Murmur2 => "Murmur2",
            Self::ConsistentRandom => "ConsistentRandom",
            Self::Consistent => "Consistent",
            Self::Fnv1aRandom => "Fnv1aRandom",
            Self::Fnv1a => "Fnv1a",
            Self::Random => "Random",
            Self::Custom(_) => "Custom",
        })
    }
}

impl Partitioner {
    /// The application's own rule for records with keys, as a closure. It has to answer as [`Partition::partition`] says.
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, Librdkafka, Partitioner};
    ///
    /// // Of orders the first byte of the value decides, of everything else that of the key.
    /// let partitioner = Partitioner::custom(|record| {
    ///     let decides = if record.topic == "orders" { record.value.unwrap_or_default() } else { record.key };
    ///     i32::from(decides.first().copied().unwrap_or(0)) % record.partitions
    /// });
    /// let backend = Librdkafka::new(ClientConfig::new()).partitioner(partitioner);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn custom(rule: impl Fn(ToPartition<'_>) -> i32 + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(rule))
    }

    /// librdkafka's rule of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "murmur2_random" => Self::Murmur2Random,
            "murmur2" => Self::Murmur2,
            "consistent_random" => Self::ConsistentRandom,
            "consistent" => Self::Consistent,
            "fnv1a_random" => Self::Fnv1aRandom,
            "fnv1a" => Self::Fnv1a,
            "random" => Self::Random,
            _ => return None,
        })
    }

    /// The place for a record with `key` among `count` partitions; `ask` gives the application's rule the rest of the record.
    pub(crate) fn place(
        &self,
        key: Option<&[u8]>,
        count: i32,
        ask: impl FnOnce(&dyn Partition, &[u8]) -> i32,
    ) -> Place {
        let hash = match (self, key) {
            (Self::Murmur2Random, Some(key)) => murmur2(key) & 0x7fff_ffff,
            (Self::Murmur2, key) => murmur2(key.unwrap_or_default()) & 0x7fff_ffff,
            (Self::ConsistentRandom, Some(key @ [_, ..])) => crc32(key),
            (Self::Consistent, key) => crc32(key.unwrap_or_default()),
            (Self::Fnv1aRandom, Some(key)) => fnv1a(key),
            (Self::Fnv1a, key) => fnv1a(key.unwrap_or_default()),
            (Self::Random, Some(_)) => return Place::Anywhere,
            (Self::Custom(rule), Some(key)) => {
                return match catch_unwind(AssertUnwindSafe(|| ask(&**rule, key))) {
                    Ok(answer) if (0..count).contains(&answer) => Place::Partition(answer),
                    _ => Place::Nowhere,
                };
            }
            (_, None) | (Self::ConsistentRandom, Some([])) => return Place::Sticky,
        };
        hash.checked_rem(count as u32).map_or(Place::Nowhere, |partition| Place::Partition(partition as i32))
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

/// FNV-1a as Sarama has it, whose hash has a sign: its absolute value.
fn fnv1a(key: &[u8]) -> u32 {
    let hash = key.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed().unsigned_abs()
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
    fn fnv1a_is_saramas() {
        for (key, hash) in [("kafka", 0x0d33_c4e1), ("giberish123456789", 0x77a5_8295), ("", 0x7ee3_623b)] {
            assert_eq!(fnv1a(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_rule_out_of_range_has_no_answer() {
        let place = |answer| Partitioner::custom(|_| 0).place(Some(b"k"), 3, |_, _| answer);
        let expected = [Place::Nowhere, Place::Partition(0), Place::Partition(2), Place::Nowhere];
        assert_eq!([-1, 0, 2, 3].map(place), expected);
    }
}
