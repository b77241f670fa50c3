//! No meters: the feature `metrics` is off.

use aioproducer_core::MessageBatch;
use aioproducer_core::backend::Failure;

use super::counts::PoolCounts;
use super::health::Health;
use crate::runtime::panics::Panics;

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
        _: &MessageBatch,
        _: (u32, usize),
        _: impl Iterator<Item = Time>,
        _: &mut MeterNotes,
    ) {
    }

    #[inline]
    pub(crate) fn delivered(&self, _: Time, _: Time, _: &mut MeterNotes) {}

    #[inline]
    pub(crate) fn retracted(&self) {}

    #[inline]
    pub(crate) fn health(&self, _: &Health, _: &Panics) {}

    #[inline]
    pub(crate) fn gather(&self, _: PoolCounts, _: &mut MeterNotes) {}

    #[inline]
    pub(crate) fn emit(&self, _: &mut MeterNotes, _: &Panics) {}
}
