fn context_of(span: &tracing::Span) -> Option<TraceContext> {
    let context = span.context().span().span_context().clone();
    let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    let flags = context.trace_flags().to_u8();
    let carried = TraceContext::new(u128::from_be_bytes(trace), u64::from_be_bytes(span), flags).ok()?;
    // A state that cannot be passed on is left out.
    Some(carried.clone().with_state(&context.trace_state().header()).unwrap_or(carried))
}
