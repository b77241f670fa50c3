//! Reading the main queue: errors, and messages that have ended, which are freed with their event.

use std::ffi::{CStr, c_void};
use std::ptr;

use aioproducer_core::backend::Failure;
use rdkafka_sys as sys;

use super::Client;
use crate::failure;
use crate::signals::Signals;

/// What one poll brought.
pub(crate) enum Polled {
    /// The queue is empty.
    Nothing,
    /// So many messages that have ended were freed, and the room that they took in librdkafka's queue.
    Freed(usize),
    /// The client has met an error that it cannot recover from, maybe some time ago.
    Fatal(Failure),
    /// Something that is not acted on.
    Other,
}

impl<R> Client<R> {
    /// Takes one event from the main queue, without waiting.
    pub(crate) fn poll(&self) -> Polled {
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue(), 0) };
        if event.is_null() {
            return Polled::Nothing;
        }
        // SAFETY: the event is ours until it is destroyed below.
        let kind = unsafe { sys::rd_kafka_event_type(event) };
        let polled = match kind {
            sys::RD_KAFKA_EVENT_ERROR => self.error(),
            // SAFETY: as above.
            sys::RD_KAFKA_EVENT_DR => Polled::Freed(unsafe { sys::rd_kafka_event_message_count(event) }),
            _ => Polled::Other,
        };
        // SAFETY: once.
        unsafe { sys::rd_kafka_event_destroy(event) };
        polled
    }

    /// An error event may carry the cause of a fatal error instead of `_FATAL`, so the client's own state decides.
    fn error(&self) -> Polled {
        // SAFETY: the client is alive, and no text is asked for.
        let cause = unsafe { sys::rd_kafka_fatal_error(self.ptr(), ptr::null_mut(), 0) };
        match cause as i32 {
            0 => Polled::Other,
            cause => Polled::Fatal(failure::fatal(cause)),
        }
    }
}

/// The main queue was empty and is not any more. Runs under the queue's lock, so it calls nothing of librdkafka.
pub(super) unsafe extern "C" fn on_event(_client: *mut sys::rd_kafka_t, signals: *mut c_void) {
    // SAFETY: the client that set the pointer keeps the signals until its end.
    let signals = unsafe { &*signals.cast_const().cast::<Signals>() };
    signals.report();
}

/// librdkafka's text for an error code.
pub(crate) fn error_text(code: i32) -> &'static str {
    const UNKNOWN: &str = "an error that the client library has no text for";
    let Ok(code) = sys::rd_kafka_resp_err_t::try_from(code) else { return UNKNOWN };
    // SAFETY: no condition.
    let text = unsafe { sys::rd_kafka_err2str(code) };
    // SAFETY: a C string. It is constant, except for codes without a text, which are told by how theirs begins: that
    // one is in a buffer of this thread and is not kept.
    let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap_or(UNKNOWN);
    if text.starts_with("Err-") { UNKNOWN } else { text }
}
