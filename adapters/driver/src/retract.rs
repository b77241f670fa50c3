//! Taking a record back.

use std::fmt;

use crate::delivery::Delivery;
use crate::record::Record;
use crate::shared::Target;

impl Delivery {
    /// Takes the record back if it was not handed to the backend yet: it will never be in the log, and its neighbours go
    /// their way. Linear in the records that were not handed off.
    ///
    /// # Errors
    /// [`TooLate`] with the delivery, whose outcome is on its way or there.
    pub fn retract(self) -> Result<Record<'static>, TooLate> {
        let Some(shared) = self.cell.context().and_then(|context| context.shared.get()?.upgrade()) else {
            return Err(TooLate(self));
        };
        let Some(cell) = self.cell.name(&shared.completions) else { return Err(TooLate(self)) };
        let wanted = Target::Delivery(cell);
        let retracted = shared.with(|state, _| {
            let slot = state.machine.find_buffered(|ticket| ticket.target() == wanted)?;
            let (record, ticket) = state.machine.retract(slot).ok()?;
            state.recount = true;
            Some((record, ticket))
        });
        let Some((record, ticket)) = retracted else { return Err(TooLate(self)) };
        shared.observer.retracted(ticket);
        drop(self);
        shared.completions.discard(cell);
        let topic = shared.topics.name(record.topic()).unwrap_or_default().to_owned();
        Ok(record.into_record(topic))
    }
}

/// The record is in the backend's hands, or has its outcome.
#[derive(Debug)]
pub struct TooLate(Delivery);

impl TooLate {
    /// The delivery, to be awaited.
    #[must_use = "a delivery tells whether the record arrived"]
    pub fn into_delivery(self) -> Delivery {
        self.0
    }
}

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record was handed off and cannot be taken back")
    }
}

impl std::error::Error for TooLate {}
