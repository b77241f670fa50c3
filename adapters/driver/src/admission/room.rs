//! Room: what waiters need, and whether it is there.

use aioproducer_core::{Heap, Lane, Producer};

use crate::outcome::ticket::Ticket;
use crate::record::OwnedRecord;

/// What one waiter waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) bytes: usize,
    /// `None` where there are no lanes.
    pub(crate) lane: Option<Lane>,
}

/// What some waiters need together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    /// Lanes that are not in use yet.
    pub(crate) lanes: usize,
}

impl Need {
    /// With one more waiter.
    pub(super) fn and(self, bytes: usize, has_no_lane: bool) -> Self {
        Self {
            count: self.count + 1,
            bytes: self.bytes.saturating_add(bytes),
            lanes: self.lanes + usize::from(has_no_lane),
        }
    }

    /// Without one of them.
    pub(super) fn without(self, bytes: usize, had_no_lane: bool) -> Self {
        Self {
            count: self.count - 1,
            bytes: self.bytes.saturating_sub(bytes),
            lanes: self.lanes - usize::from(had_no_lane),
        }
    }
}

/// What there is room for.
pub(crate) trait Vacancy {
    fn has(&self, need: Need) -> bool;

    /// Whether the first record of `lane` takes up a lane that is not in use yet.
    fn needs_lane(&self, lane: Lane) -> bool;
}

/// Room in the pool, and the shares of lanes.
pub(crate) trait Shares: Vacancy {
    /// Whether a lane may have another record of so many bytes, as far as the others are concerned.
    fn has_share(&self, lane: Lane, bytes: usize) -> bool;
}

/// A number of places without bytes or lanes.
pub(crate) struct Places(pub(crate) usize);

impl Vacancy for Places {
    fn has(&self, need: Need) -> bool {
        need.count <= self.0
    }

    fn needs_lane(&self, _lane: Lane) -> bool {
        false
    }
}

impl Vacancy for Producer<OwnedRecord, Ticket, Heap> {
    fn has(&self, need: Need) -> bool {
        self.has_room_for(need.count, need.bytes, need.lanes)
    }

    fn needs_lane(&self, lane: Lane) -> bool {
        Self::needs_lane(self, lane)
    }
}

impl Shares for Producer<OwnedRecord, Ticket, Heap> {
    fn has_share(&self, lane: Lane, bytes: usize) -> bool {
        Self::has_share(self, lane, bytes)
    }
}
