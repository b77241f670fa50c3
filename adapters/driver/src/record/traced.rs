//! A record's place in a distributed trace.

use std::borrow::Cow;

use super::trace_context::TraceContext;
use super::{Header, Record};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

impl Record<'_> {
    /// Sets the headers `traceparent` and, if the context has a state, `tracestate`, in place of those that are there.
    #[must_use]
    pub fn trace_context(mut self, context: &TraceContext) -> Self {
        self.set_trace_context(context);
        self
    }

    pub(crate) fn set_trace_context(&mut self, context: &TraceContext) {
        let headers = self.headers.list_mut();
        headers.retain(|header| ![PARENT, STATE].contains(&header.name()));
        let mut set = |name, value: String| headers.push(Header::new(Cow::Borrowed(name), Some(value.into())));
        set(PARENT, context.traceparent());
        if let Some(state) = context.tracestate() {
            set(STATE, state.to_owned());
        }
    }

    /// Whether the record has a header `traceparent`.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_traced(&self) -> bool {
        self.headers().iter().any(|header| header.name() == PARENT)
    }
}
