//! What a close could not send.

use aioproducer_core::backend::Status;

use crate::record::Record;

/// A record that a close gave back, see [`CloseReport::unsent`](crate::CloseReport::unsent).
///
/// ```
/// # use aioproducer_driver::Unsent;
/// fn line(unsent: &Unsent) -> String {
///     format!("a record for {} is {}", unsent.record.topic(), unsent.status)
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Unsent {
    /// The record.
    pub record: Record<'static>,
    /// Whether it may be in the log.
    pub status: Status,
}
