//! What a test notes of its producer.

use core::time::Duration;

use super::{Delivered, Status};

/// Notes what a producer accepts, and what it says of each record: for tests, which compare it with what brokers have.
///
/// A backend for tests has one ([`Connect::journal`](super::Connect::journal)). Outcomes are noted before the application can
/// see them. The driver calls it under its locks, so it must not block, and must call neither the driver nor the runtime.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use aioproducer_core::backend::{Accepted, Delivered, Journal, Status};
///
/// /// Counts records that are not lost.
/// #[derive(Default)]
/// struct Count(AtomicU64, AtomicU64);
///
/// impl Journal for Count {
///     fn accepted(&self, _: Accepted<'_>) -> u64 {
///         self.0.fetch_add(1, Ordering::Relaxed)
///     }
///
///     fn delivered(&self, _: u64, _: Delivered) {
///         self.1.fetch_add(1, Ordering::Relaxed);
///     }
///
///     fn failed(&self, _: u64, _: Status) {}
///
///     fn retracted(&self, _: u64) {}
/// }
/// ```
pub trait Journal: Send + Sync {
    /// A record is accepted. The number is its own, and its outcome is noted with it.
    fn accepted(&self, record: Accepted<'_>) -> u64;

    /// It was delivered.
    fn delivered(&self, record: u64, at: Delivered);

    /// It has failed.
    fn failed(&self, record: u64, status: Status);

    /// The application has taken it back.
    fn retracted(&self, record: u64);
}

/// A record that a producer accepts, as its application made it.
///
/// ```
/// use aioproducer_core::backend::Accepted;
///
/// let record = Accepted { topic: "orders", partition: None, key: Some(b"customer-7"), payload: None, timeout: None };
/// assert!(record.payload.is_none(), "a tombstone");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition that it names.
    pub partition: Option<i32>,
    /// The key; `None` if there is none.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Its own timeout, instead of the producer's.
    pub timeout: Option<Duration>,
}
