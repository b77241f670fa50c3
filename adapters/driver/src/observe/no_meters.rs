//! No meters: the feature `metrics` is off.

use aioproducer_core::backend::Failure;
use aioproducer_core::{MessageBatch, SlotId};

use crate::record::OwnedRecord;
use crate::runtime::panics::Panics;
use crate::state::shared::State;

#[derive(Clone, Debug, Default)]
pub(crate) struct MeterOptions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time;

impl Time {
    pub(crate) const NONE: Self = Self;

    #[inline]
    pub(crate) fn now() -> Self {
        Self
    }
}

#[derive(Default)]
pub(crate) struct MeterNotes;

impl MeterNotes {
    #[inline]
    pub(crate) fn failed(&mut self, _: Failure) {}

    #[cfg(feature = "tracing")]
    #[inline]
    pub(crate) fn callbacks(&mut self, _: super::changes::CallbackChange) {}
}

pub(crate) struct Meters;

impl Meters {
    #[inline]
    pub(crate) fn new(_: MeterOptions, _: usize) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn handed_off(
        &self,
        _: &mut State,
        _: &MessageBatch,
        _: &[(SlotId, OwnedRecord)],
        _: usize,
        _: &mut MeterNotes,
    ) {
    }

    #[inline]
    pub(crate) fn delivered(&self, _: Time, _: Time, _: &mut MeterNotes) {}

    #[inline]
    pub(crate) fn retracted(&self) {}

    #[inline]
    pub(crate) fn gather(&self, _: &State, _: &mut MeterNotes) {}

    #[inline]
    pub(crate) fn tell(&self, _: &mut MeterNotes, _: &Panics) {}
}
