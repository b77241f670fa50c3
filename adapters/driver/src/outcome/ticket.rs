//! Whom a record's outcome goes to.

use std::num::NonZeroU32;

use crate::callbacks::CallbackRef;
use crate::observe::Mark;
use crate::outcome::completion::CellRef;

/// Whom a record's outcome goes to, in one word, since every slot of the pool has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The number of a `produce_all` plus one, `TO_DELIVERY`, `TO_NOBODY`, or `TO_CALLBACK` and the callback's shelf.
    kind: NonZeroU32,
    value: u32,
    /// Nothing, unless spans or metrics are on.
    pub(crate) mark: Mark,
}

const TO_DELIVERY: NonZeroU32 = NonZeroU32::MAX;
const TO_NOBODY: NonZeroU32 = NonZeroU32::new(u32::MAX - 1).unwrap();
const TO_CALLBACK: u32 = 1 << 31;

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A `Delivery`.
    Delivery(CellRef),
    /// A `produce_all`, and the record's place in it.
    Group { group: u32, index: u32 },
    /// A callback.
    Callback(CallbackRef),
    /// The outcome was told already.
    Nobody,
}

impl Ticket {
    pub(crate) fn to_delivery(cell: CellRef) -> Self {
        Self { kind: TO_DELIVERY, value: cell.to_bits(), mark: Mark::NONE }
    }

    /// `group` is a number of a [`Groups`], which are fewer than can be told apart.
    pub(crate) fn to_group(group: u32, index: u32) -> Self {
        Self { kind: NonZeroU32::MIN.saturating_add(group), value: index, mark: Mark::NONE }
    }

    /// Shelves are as many as an application has callbacks in its source, so there are numbers for all.
    pub(crate) fn to_callback(callback: CallbackRef) -> Self {
        let kind = NonZeroU32::MIN.saturating_add(TO_CALLBACK - 1 + callback.shelf);
        Self { kind, value: callback.place, mark: Mark::NONE }
    }

    /// For a record whose outcome was told before its end.
    pub(crate) const NOBODY: Self = Self { kind: TO_NOBODY, value: 0, mark: Mark::NONE };

    #[inline]
    pub(crate) fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    pub(crate) fn target(self) -> Target {
        match self.kind {
            TO_DELIVERY => Target::Delivery(CellRef::from_bits(self.value)),
            TO_NOBODY => Target::Nobody,
            kind if kind.get() >= TO_CALLBACK => {
                Target::Callback(CallbackRef { shelf: kind.get() - TO_CALLBACK, place: self.value })
            }
            kind => Target::Group { group: kind.get() - 1, index: self.value },
        }
    }
}
