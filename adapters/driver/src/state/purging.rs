//! What a purge takes back, and when the backend purges.

use aioproducer_core::{Completed, Lane};

use super::effects::{Effects, Purged};
use super::shared::State;
use crate::outcome::ticket::Ticket;
use crate::record::OwnedRecord;

impl State {
    /// Takes back a record that was not handed off, also of a lane whose batch is out: there are few of those.
    pub(crate) fn take_buffered(&mut self) -> Option<(OwnedRecord, Completed<Ticket>)> {
        let Self { machine, handing_off, .. } = self;
        machine.poll_drained().or_else(|| handing_off.iter().find_map(|lane| machine.poll_lane(*lane)))
    }

    /// Has the backend purge, when it has what is on its way to it now, which is to be purged, too.
    pub(crate) fn purge_backend(&mut self, what: Purged, effects: &mut Effects) {
        if self.handing_off.is_empty() {
            return effects.purge_backend(what);
        }
        let (lanes, all) = self.purge_after.get_or_insert_default();
        lanes.extend(self.handing_off.iter().filter(|lane| !lanes.contains(lane)).copied().collect::<Vec<_>>());
        all.queued |= what.queued;
        all.in_flight |= what.in_flight;
    }

    /// A lane's batch is handed off, and the purge that waited for it is due.
    pub(crate) fn end_hand_off(&mut self, lane: Lane, effects: &mut Effects) {
        self.handing_off.retain(|out| *out != lane);
        if let Some((lanes, _)) = &mut self.purge_after {
            lanes.retain(|out| *out != lane);
        }
        if let Some((_, purged)) = self.purge_after.take_if(|(lanes, _)| lanes.is_empty()) {
            effects.purge_backend(purged);
        }
    }
}
