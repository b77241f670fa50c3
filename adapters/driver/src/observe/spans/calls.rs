//! Spans of calls that concern no single record.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::record::set_error;

/// The span of a flush or a close.
#[derive(Default)]
pub(crate) struct CallSpan(Option<Span>);

macro_rules! call {
    ($name:literal, $left:literal) => {
        info_span!(
            target: "aioproducer",
            $name,
            "otel.status_code" = Empty,
            "otel.status_description" = Empty,
            "messaging.system" = "kafka",
            "messaging.operation.name" = $name,
            $left = Empty,
            "error.type" = Empty,
        )
    };
}

impl CallSpan {
    pub(crate) fn flush(&mut self) {
        self.0.get_or_insert_with(|| call!("flush", "aioproducer.remaining"));
    }

    pub(crate) fn close(&mut self) {
        self.0.get_or_insert_with(|| call!("close", "aioproducer.unsent"));
    }

    /// A flush gave up.
    pub(crate) fn timed_out(&self, remaining: usize) {
        if let Some(span) = &self.0 {
            span.record("aioproducer.remaining", remaining as i64);
            set_error(span, "timed_out", format_args!("{remaining} records had no outcome before the flush's limit"));
        }
    }

    /// A close is over.
    pub(crate) fn closed(&self, unsent: usize) {
        if let Some(span) = &self.0
            && unsent > 0
        {
            span.record("aioproducer.unsent", unsent as i64);
            set_error(
                span,
                "timed_out",
                format_args!("{unsent} records were not delivered before the close's deadline"),
            );
        }
    }
}
