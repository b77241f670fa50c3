//! What an application may ask for.

use crate::Builder;

impl<B> Builder<B> {
    /// The producer's name: the label `producer` of all its metrics, which have no label without it. With the feature
    /// `metrics`.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.observe.meters.name = Some(name.into());
        self
    }

    /// Has `context` called with each record's span when it is made, and sets the headers that carry what it returns,
    /// unless the record has a `traceparent` already. It is called on the task that produces, with no lock held. With the
    /// feature `tracing`.
    ///
    /// With `tracing-opentelemetry`, where `OpenTelemetrySpanExt` has a span's context and `TraceContextExt` what is in it:
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
        F: Fn(&tracing::Span) -> Option<crate::TraceContext> + Send + Sync + 'static,
    {
        self.observe.spans.context = Some(super::spans::Injection(std::sync::Arc::new(context)));
        self
    }

    /// Whether spans have the records' keys, as far as they are text: `messaging.kafka.message.key`. They do not unless
    /// asked to, since keys may say something about people. With the feature `tracing`.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn trace_keys(mut self, keys: bool) -> Self {
        self.observe.spans.keys = keys;
        self
    }
}
