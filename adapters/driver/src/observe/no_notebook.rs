//! No journal: the feature `journal` is off.

use aioproducer_core::backend::{Connect, Delivered, Message, Status};

use crate::record::Record;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted;

impl Noted {
    pub(crate) const NONE: Self = Self;
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Notebook;

impl Notebook {
    pub(crate) fn of<R: Message>(_: &mut impl Connect<R>) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn accepted(&self, _: &Record<'_>) -> Noted {
        Noted
    }

    #[inline]
    pub(crate) fn delivered(&self, _: Noted, _: Delivered) {}

    #[inline]
    pub(crate) fn failed(&self, _: Noted, _: Status) {}

    #[inline]
    pub(crate) fn retracted(&self, _: Noted) {}
}
