//! Where a record's outcome goes.

use std::num::NonZeroU32;

use super::completion::CellRef;
use crate::observe::Mark;

/// Names a callback in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallbackRef {
    /// The slab of callbacks of its type.
    pub(crate) slab: u32,
    pub(crate) place: u32,
}

/// Where a record's outcome goes, in one word, since every slot of the pool has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The number of a `produce_all` plus one, `TO_DELIVERY`, or `TO_CALLBACK` plus the callback's slab.
    kind: NonZeroU32,
    value: u32,
    /// Nothing, unless spans, metrics or a journal are on.
    pub(crate) mark: Mark,
}

// Every slot of the pool has a ticket.
#[cfg(not(any(feature = "tracing", feature = "metrics", feature = "journal")))]
const _: () = assert!(size_of::<Ticket>() == 8);

const TO_DELIVERY: NonZeroU32 = NonZeroU32::MAX;
const TO_CALLBACK: u32 = 1 << 31;

/// What a ticket stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A `Delivery`.
    Delivery(CellRef),
    /// A `produce_all`, and the record's place in it.
    Bulk { bulk: u32, index: u32 },
    /// A callback.
    Callback(CallbackRef),
}

impl Ticket {
    pub(crate) fn to_delivery(cell: CellRef) -> Self {
        Self { kind: TO_DELIVERY, value: cell.to_bits(), mark: Mark::NONE }
    }

    /// `bulk` is a number of [`BulkOutcomes`](super::bulk::BulkOutcomes), of which there are fewer than 2³¹.
    pub(crate) fn to_bulk(bulk: u32, index: u32) -> Self {
        Self { kind: NonZeroU32::MIN.saturating_add(bulk), value: index, mark: Mark::NONE }
    }

    /// There is a slab for each type of callback in the application's source, so their numbers fit.
    pub(crate) fn to_callback(callback: CallbackRef) -> Self {
        let kind = NonZeroU32::MIN.saturating_add(TO_CALLBACK - 1 + callback.slab);
        Self { kind, value: callback.place, mark: Mark::NONE }
    }

    #[inline]
    pub(crate) fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// Whether the outcome runs a callback.
    #[inline]
    pub(crate) fn has_callback(self) -> bool {
        self.kind.get() >= TO_CALLBACK && self.kind != TO_DELIVERY
    }

    pub(crate) fn target(self) -> Target {
        match self.kind {
            TO_DELIVERY => Target::Delivery(CellRef::from_bits(self.value)),
            kind if kind.get() >= TO_CALLBACK => {
                Target::Callback(CallbackRef { slab: kind.get() - TO_CALLBACK, place: self.value })
            }
            kind => Target::Bulk { bulk: kind.get() - 1, index: self.value },
        }
    }
}
