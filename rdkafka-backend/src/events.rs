//! What librdkafka tells beside delivery reports.

use aioproducer_core::backend::{Exchange, Failure, Message};

/// The client met an error that it cannot recover from.
pub(crate) fn fatal<R: Message>(exchange: &impl Exchange<R>, failure: Failure) {
    exchange.fatal(failure);
}
