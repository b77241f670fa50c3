//! Taking a buffered record back out of the machine.

use super::shared::Shared;
use crate::outcome::completion::CellHandle;
use crate::outcome::context::{Context, Retract};
use crate::outcome::error::DeliveryError;
use crate::outcome::ticket::Target;
use crate::record::Record;

impl Retract for Shared {
    fn retract(
        &self,
        cell: CellHandle<DeliveryError, Context>,
    ) -> Result<Record<'static>, CellHandle<DeliveryError, Context>> {
        let Some(place) = self.completions.name(&cell) else { return Err(cell) };
        let wanted = Target::Delivery(place);
        let retracted = self.with(|state, _| {
            let slot = state.machine.find_buffered(|ticket| ticket.target() == wanted)?;
            let (record, ended) = state.machine.retract(slot).ok()?;
            Some((record, ended.ticket))
        });
        let Some((record, ticket)) = retracted else { return Err(cell) };
        self.observer.retracted(ticket.mark);
        drop(cell);
        self.completions.discard(place);
        Ok(self.hand_back(record))
    }
}
