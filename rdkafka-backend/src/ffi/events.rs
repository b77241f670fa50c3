//! Reading the main queue: delivery reports in bulk, and errors.

use std::ffi::CStr;
use std::ptr;

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Failure, Status};
use rdkafka_sys as sys;

use super::Client;
use super::message::Entry;
use crate::failure;

/// What one poll brought.
pub(crate) enum Polled {
    /// Nothing came in time, or the poll was interrupted.
    Nothing,
    /// Delivery reports were appended.
    Reports,
    /// The client has met an error that it cannot recover from, maybe some time ago.
    Fatal(Failure),
    /// Something that is not acted on.
    Other,
}

/// A delivery report before its record was found.
#[derive(Clone, Copy)]
pub(crate) struct RawReport {
    pub(crate) slot: SlotId,
    pub(crate) code: i32,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) status: Status,
}

/// Messages taken from an event in one call.
const BULK: usize = 256;

impl<R> Client<R> {
    /// Takes one event from the main queue. Its reports are appended to `reports`, and the event is destroyed, which
    /// frees the room that its messages took in librdkafka's queue.
    ///
    /// Waits as long as it takes if `wait`, else not at all. To be called by one thread.
    pub(crate) fn poll(&self, wait: bool, reports: &mut Vec<RawReport>) -> Polled {
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue(), if wait { -1 } else { 0 }) };
        if event.is_null() {
            return Polled::Nothing;
        }
        // SAFETY: the event is ours until it is destroyed below.
        let polled = match unsafe { sys::rd_kafka_event_type(event) } {
            sys::RD_KAFKA_EVENT_DR => {
                let mut messages = [ptr::null(); BULK];
                loop {
                    // SAFETY: the array has room for BULK pointers.
                    let count = unsafe { sys::rd_kafka_event_message_array(event, messages.as_mut_ptr(), BULK) };
                    if count == 0 {
                        break;
                    }
                    reports.extend(messages[..count].iter().map(|message| {
                        // SAFETY: messages live until the event is destroyed.
                        unsafe { read(*message) }
                    }));
                }
                Polled::Reports
            }
            sys::RD_KAFKA_EVENT_ERROR => self.error(),
            _ => Polled::Other,
        };
        // SAFETY: once; nothing refers to the event or its messages any more.
        unsafe { sys::rd_kafka_event_destroy(event) };
        polled
    }

    /// Drops the record of a delivered message; false if the report is stale.
    pub(crate) fn discard(&self, report: &RawReport) -> bool {
        // SAFETY: librdkafka reported the message and its event was destroyed, so the record's memory is not borrowed.
        unsafe { self.cells.discard(report.slot) }
    }

    /// The record of a failed message; `None` if the report is stale.
    pub(crate) fn reclaim(&self, report: &RawReport) -> Option<R> {
        // SAFETY: librdkafka reported the message and its event was destroyed, so the record's memory is not borrowed.
        unsafe { self.cells.take(report.slot) }
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

/// # Safety
/// `message` is a message of a delivery report event that was not destroyed yet.
unsafe fn read(message: *const sys::rd_kafka_message_t) -> RawReport {
    // SAFETY: the pointer is valid, and an entry has the layout of a message.
    let entry = unsafe { &*message.cast::<Entry>() };
    // SAFETY: the message is valid; the kind of timestamp is not asked for.
    let timestamp = unsafe { sys::rd_kafka_message_timestamp(message, ptr::null_mut()) };
    let code = entry.err;
    let status = if code == 0 {
        Status::Persisted
    } else {
        // SAFETY: the message is valid.
        match unsafe { sys::rd_kafka_message_status(message) } {
            sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Status::NotPersisted,
            sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Status::PossiblyPersisted,
            sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Status::Persisted,
        }
    };
    let slot = SlotId::from_bits(entry.opaque.addr() as u64);
    RawReport { slot, code, partition: entry.partition, offset: entry.offset, timestamp, status }
}
