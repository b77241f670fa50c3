//! Settings of spans and metrics.

use super::Builder;

impl<B> Builder<B> {
    /// The producer's name: the label `producer` of all its metrics, which have no label without it. With the feature
    /// `metrics`.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.name("orders")
    /// }
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.observe.meters.name = Some(name.into());
        self
    }

    /// Has `context` called with each record's span when it is made, and sets the headers that carry what it returns,
    /// unless the record has a `traceparent` already. It is called on the task that produces, with no lock held. Of a record
    /// whose span has no context, or that has no span, it is called with the span around it, if there is one. With the
    /// feature `tracing`.
    ///
    /// ```
    /// # use aioproducer_driver::{Builder, record::TraceContext};
    /// fn settings<B>(builder: Builder<B>, trace_id: u128) -> Builder<B> {
    ///     builder.inject_trace_context(move |span| TraceContext::new(trace_id, span.id()?.into_u64(), 1).ok())
    /// }
    /// ```
    ///
    /// With `tracing-opentelemetry`, where `OpenTelemetrySpanExt` has a span's context and `TraceContextExt` what is in it
    /// (`docs/tracing.md` has it in full):
    ///
    /// ```text
    /// builder.inject_trace_context(|span| {
    ///     let context = span.context().span().span_context().clone();
    ///     let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    ///     let flags = context.trace_flags().to_u8();
    ///     TraceContext::new(u128::from_be_bytes(trace), u64::from_be_bytes(span), flags).ok()
    /// })
    /// ```
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn inject_trace_context<F>(mut self, context: F) -> Self
    where
        F: Fn(&tracing::Span) -> Option<crate::record::TraceContext> + Send + Sync + 'static,
    {
        self.observe.spans.context = Some(crate::observe::Injection(std::sync::Arc::new(context)));
        self
    }

    /// Which records have a span: those of which `is_wanted` is true; without it, all have one. It is called once for each record, on the
    /// task that produces, while a subscriber wants spans. A record without a span costs little more than without a
    /// subscriber; its failure is an event all the same, and [`Builder::inject_trace_context`] gives it the context of the
    /// span around it. The one span of a `produce_all` is always there. With the feature `tracing`.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// # fn one_in_a_hundred<B>(builder: aioproducer_driver::Builder<B>) -> aioproducer_driver::Builder<B> {
    /// let records = AtomicU64::new(0);
    /// builder.trace_records(move |_| records.fetch_add(1, Ordering::Relaxed) % 100 == 0)
    /// # }
    /// ```
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn trace_records<F>(mut self, is_wanted: F) -> Self
    where
        F: Fn(&crate::Record<'_>) -> bool + Send + Sync + 'static,
    {
        self.observe.spans.wanted = Some(crate::observe::Wanted(std::sync::Arc::new(is_wanted)));
        self
    }

    /// Whether spans have the records' keys, as far as they are text: `messaging.kafka.message.key`. They do not unless
    /// asked to, since keys may say something about people. With the feature `tracing`.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.trace_keys(true)
    /// }
    /// ```
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn trace_keys(mut self, keys: bool) -> Self {
        self.observe.spans.keys = keys;
        self
    }
}
