//! A record without a span: the feature `tracing` is off.

#[derive(Clone, Default)]
pub(crate) struct RecordSpan(());
