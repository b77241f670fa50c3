#![doc = include_str!("../../../docs/tracing.md")]

use aioproducer::record::TraceContext;
use opentelemetry::trace::TraceContextExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;

// As the document has it.
include!("context.rs");

/// The context of a span, for `Builder::inject_trace_context`.
pub fn context(span: &tracing::Span) -> Option<TraceContext> {
    context_of(span)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_has_the_code_that_is_tested() {
        assert!(include_str!("../../../docs/tracing.md").contains(include_str!("context.rs")));
    }
}
