//! A delivery report as librdkafka gives it, before its record is found.

use std::ffi::{CStr, c_void};
use std::{ptr, slice};

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Copied, Delivered, Status};
use rdkafka_sys as sys;

use super::native_message::NativeMessage;
use super::offsets::broker_offset;

/// A delivery report before its record is found.
pub(crate) struct RawReport {
    pub(crate) slot: SlotId,
    /// -1 if no broker has assigned it.
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) code: i32,
    pub(crate) partition: i32,
    pub(crate) status: Status,
    /// librdkafka has copied the record, which is in no cell.
    pub(crate) copied: bool,
    /// More about a record that failed.
    pub(crate) details: Option<Box<FailureDetails>>,
}

/// More about a record that failed.
pub(crate) struct FailureDetails {
    /// librdkafka's copy of the record.
    pub(crate) copy: Option<Copied>,
    /// The broker's message about this record (`rd_kafka_message_produce_errstr`).
    pub(crate) broker_message: Option<Box<str>>,
}

impl RawReport {
    /// The record's place in the log, if it was delivered.
    pub(crate) fn delivered(&self) -> Delivered {
        let [offset, timestamp] = [self.offset, self.timestamp].map(|value| (value >= 0).then_some(value));
        Delivered::new(self.partition, offset, timestamp)
    }

    /// # Safety
    /// `message` is part of one of librdkafka's own messages, and `entry` is the same.
    pub(super) unsafe fn read(message: *const sys::rd_kafka_message_t, entry: &NativeMessage) -> Self {
        // SAFETY: the message is valid; the type of the timestamp is not requested.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(message, ptr::null_mut()) };
        let mut code = entry.err;
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
        let opaque = entry.opaque.addr() as u64;
        let (slot, copied) = (SlotId::from_bits(opaque & !MARKS), opaque & COPIED != 0);
        let offset = if code == 0 { broker_offset(entry) } else { -1 };
        let details = (code != 0).then(|| {
            // SAFETY: by this function's contract.
            let broker_message = unsafe { broker_message(message) };
            // One invalid record fails its whole batch with its code. Only this text marks the other records.
            if broker_message.as_ref().is_some_and(|text| text.starts_with(OTHER_RECORD)) {
                code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD as i32;
            }
            // SAFETY: by this function's contract.
            let copy = copied.then(|| unsafe { copy(entry) });
            (copy.is_some() || broker_message.is_some()).then(|| Box::new(FailureDetails { copy, broker_message }))
        });
        let (partition, details) = (entry.partition, details.flatten());
        Self { slot, offset, timestamp, code, partition, status, copied, details }
    }
}

/// Marks the slot in a message's opaque value: librdkafka has copied the record.
pub(super) const COPIED: u64 = 1 << 31;

/// Marks the slot of a copied record that was handed off alone: its success is reported at once.
pub(super) const ALONE: u64 = 1 << 30;

/// Marks the slot of a copied record that is urgent.
pub(super) const URGENT: u64 = 1 << 29;

/// Marks the slot of a copied record whose partition was chosen by its key. Slots from this number on are not copied.
pub(super) const PLACED: u64 = 1 << 28;

/// All marks.
const MARKS: u64 = COPIED | ALONE | URGENT | PLACED;

/// The slot of the record that a message with this opaque value borrows; `None` if it has a copy.
pub(super) fn lent_slot(opaque: u64) -> Option<SlotId> {
    (opaque & COPIED == 0).then(|| SlotId::from_bits(opaque & !MARKS))
}

/// The beginning of librdkafka's text for a record that failed because of another one in its batch.
const OTHER_RECORD: &str = "Failed to append record because it was part of a batch";

/// The broker's message about a record.
///
/// # Safety
/// `message` is part of one of librdkafka's own messages, and has failed.
unsafe fn broker_message(message: *const sys::rd_kafka_message_t) -> Option<Box<str>> {
    // SAFETY: by this function's contract; it reads a field of the message.
    let text = unsafe { sys::rd_kafka_message_produce_errstr(message) };
    if text.is_null() {
        return None;
    }
    // SAFETY: a C string that is valid during the callback.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into())
}

/// # Safety
/// `entry` is one of librdkafka's own messages.
unsafe fn copy(entry: &NativeMessage) -> Copied {
    let bytes = |start: *mut c_void, len| {
        // SAFETY: key and payload are valid for their lengths as long as the message is.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec())
    };
    let is_marked = |mark| entry.opaque.addr() as u64 & mark != 0;
    let (urgent, placed) = (is_marked(URGENT), is_marked(PLACED));
    Copied { key: bytes(entry.key, entry.key_len), payload: bytes(entry.payload, entry.len), urgent, placed }
}
