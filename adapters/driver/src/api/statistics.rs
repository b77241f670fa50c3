//! What a producer counts.

/// What a producer holds now, and what it has counted since its start. Counts are of records unless they say otherwise.
///
/// ```
/// # use aioproducer_driver::AioProducer;
/// /// How full the pool is, from 0 to 1.
/// fn fullness(producer: &AioProducer) -> f64 {
///     let statistics = producer.statistics();
///     statistics.in_use as f64 / statistics.capacity as f64
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Slots of the pool.
    pub capacity: usize,
    /// Slots in use: records without an outcome, and those that timed out and that the backend has not let go of.
    pub in_use: usize,
    /// The most slots that were in use at once.
    pub high_water: usize,
    /// Bytes that the records in use count for, see [`Builder::pool_bytes`](crate::Builder::pool_bytes).
    pub bytes: usize,
    /// Records that wait to be handed to the backend.
    pub buffered: usize,
    /// Records handed to the backend and not yet reported.
    pub handed_off: usize,
    /// Records that timed out when the backend had them, and that it has not let go of for half the delivery timeout since, at
    /// least 5 seconds and at most a minute. It should be none; each keeps its slot.
    pub overdue: usize,
    /// Records accepted since the start.
    pub acquired: u64,
    /// Batches handed off since the start.
    pub batches: u64,
    /// Delivery reports that named no record in flight; they were ignored.
    pub stale_reports: u64,
    /// Tasks waiting for room in the pool, for a record or its callback.
    pub waiters: usize,
    /// Records that the [overflow policy](crate::Overflow) dropped since the start.
    pub dropped: u64,
    /// Callbacks whose record has ended and that have not come to their end.
    pub callbacks_waiting: usize,
    /// Callbacks that panicked since the start.
    pub callbacks_panicked: u64,
    /// How often callbacks took longer than [`callback_stall`](crate::Builder::callback_stall), since the start.
    pub callbacks_stalled: u64,
    /// How often a panic of other code of the application's was caught since the start: of a waker, the owner of a payload, a
    /// callback that was dropped, a subscriber or a recorder, the runtime's `spawn`. The producer goes on.
    pub panics_caught: u64,
}
