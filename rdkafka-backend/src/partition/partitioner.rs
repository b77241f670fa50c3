//! Which partition a key belongs to.

use std::fmt;
use std::sync::Arc;

use crate::catch_panic::catch_panic;
use crate::partition::hash::{crc32, fnv1a, murmur2};
use crate::partition::rule::{Partition, ToPartition};

/// The rule that chooses the partition of records that name none.
///
/// Each rule except [`Custom`](Self::Custom) has the name of a librdkafka `partitioner` and gives the same partitions; a test
/// compares them key by key. `count` is the topic's number of partitions.
///
/// | librdkafka's name | rule | no key | empty key | any other key |
/// | --- | --- | --- | --- | --- |
/// | `murmur2_random` | `Murmur2Random`, the default | sticky | hashed | `(murmur2(key) & 0x7fffffff) % count` |
/// | `murmur2` | `Murmur2` | as an empty key | hashed | `(murmur2(key) & 0x7fffffff) % count` |
/// | `consistent_random` | `ConsistentRandom` | sticky | sticky | `crc32(key) % count` |
/// | `consistent` | `Consistent` | partition 0 | partition 0 | `crc32(key) % count` |
/// | `fnv1a_random` | `Fnv1aRandom` | sticky | hashed | `abs(fnv1a(key)) % count` |
/// | `fnv1a` | `Fnv1a` | as an empty key | hashed | `abs(fnv1a(key)) % count` |
/// | `random` | `Random` | sticky | random | random |
///
/// *Sticky* records share one partition for a while and then move to another one that has a leader (KIP-480). They move after
/// `sticky.partitioning.linger.ms` or, as in Kafka's Java client, when the partition has received `batch.size` bytes (KIP-794).
/// With `sticky.partitioning.linger.ms=0` they move after each batch.
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, Librdkafka, Partitioner};
///
/// let backend = Librdkafka::new(ClientConfig::new()).partitioner(Partitioner::ConsistentRandom);
/// # let _ = backend;
/// ```
#[non_exhaustive]
#[derive(Clone, Default)]
pub enum Partitioner {
    /// By the murmur2 hash of the key, as in Kafka's Java client. Records without a key are sticky.
    #[default]
    Murmur2Random,
    /// By the murmur2 hash of the key. Records without a key go to the partition of the empty key.
    Murmur2,
    /// By the CRC-32 of the key; librdkafka's default. Records without a key or with an empty key are sticky.
    ConsistentRandom,
    /// By the CRC-32 of the key. Records without a key or with an empty key go to partition 0.
    Consistent,
    /// By the FNV-1a hash of the key, as in Sarama. Records without a key are sticky.
    Fnv1aRandom,
    /// By the FNV-1a hash of the key. Records without a key go to the partition of the empty key.
    Fnv1a,
    /// A random partition that has a leader for each record with a key, so equal keys have no order. Records without a key are
    /// sticky.
    Random,
    /// The application's own rule for records with a key, which may be empty. Records without a key are sticky.
    Custom(Arc<dyn Partition>),
}

/// A partitioner's decision about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Partition(i32),
    /// The partition that records without a key share at the moment.
    Sticky,
    /// Any partition that has a leader.
    Random,
    /// The application's rule panicked or returned a number out of range.
    Invalid,
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
    /// The application's own rule for records with a key, as a closure. [`Partition::partition`] says what it must return.
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, Librdkafka, Partitioner};
    ///
    /// // Orders go by the first byte of their value, all other records by the first byte of their key.
    /// let partitioner = Partitioner::custom(|record| {
    ///     let bytes = if record.topic == "orders" { record.value.unwrap_or_default() } else { record.key };
    ///     i32::from(bytes.first().copied().unwrap_or(0)) % record.partitions
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

    /// Chooses among `count` partitions for a record with `key`. `call` calls the application's rule with the whole record.
    pub(crate) fn choose(
        &self,
        key: Option<&[u8]>,
        count: i32,
        call: impl FnOnce(&dyn Partition, &[u8]) -> i32,
    ) -> Choice {
        let hash = match (self, key) {
            (Self::Murmur2Random, Some(key)) => murmur2(key) & 0x7fff_ffff,
            (Self::Murmur2, key) => murmur2(key.unwrap_or_default()) & 0x7fff_ffff,
            (Self::ConsistentRandom, Some(key @ [_, ..])) => crc32(key),
            (Self::Consistent, key) => crc32(key.unwrap_or_default()),
            (Self::Fnv1aRandom, Some(key)) => fnv1a(key),
            (Self::Fnv1a, key) => fnv1a(key.unwrap_or_default()),
            (Self::Random, Some(_)) => return Choice::Random,
            (Self::Custom(rule), Some(key)) => {
                return match catch_panic(|| call(&**rule, key)) {
                    Some(answer) if (0..count).contains(&answer) => Choice::Partition(answer),
                    _ => Choice::Invalid,
                };
            }
            (_, None) | (Self::ConsistentRandom, Some([])) => return Choice::Sticky,
        };
        hash.checked_rem(count as u32).map_or(Choice::Invalid, |partition| Choice::Partition(partition as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_out_of_range_is_invalid() {
        let choice = |answer| Partitioner::custom(|_| 0).choose(Some(b"k"), 3, |_, _| answer);
        let expected = [Choice::Invalid, Choice::Partition(0), Choice::Partition(2), Choice::Invalid];
        assert_eq!([-1, 0, 2, 3].map(choice), expected);
    }
}
