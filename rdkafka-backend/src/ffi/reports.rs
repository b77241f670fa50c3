//! Delivery reports: librdkafka calls `on_acknowledgement` for each message that has ended, on its own threads.
//!
//! An interceptor hears of a message while librdkafka itself looks at it, so what it says of the message is in the
//! cache. The delivery report event that follows is only destroyed, which frees the messages, and on the thread that they
//! were allocated on.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{ptr, slice};

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Copied, Status};
use rdkafka_sys as sys;

use super::message::Entry;

/// A delivery report before its record was found.
pub(crate) struct RawReport {
    pub(crate) slot: SlotId,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) code: i32,
    pub(crate) partition: i32,
    pub(crate) status: Status,
    /// librdkafka had copied the record, which is in no cell.
    pub(crate) copied: bool,
    /// What it had copied, if the record failed.
    pub(crate) copy: Option<Box<Copied>>,
}

/// Marks the slot in a message's opaque whose record librdkafka has copied. Slots from this number on are not handed off.
pub(super) const COPIED: u64 = 1 << 31;

/// Reports that nobody has read yet: at most one for each record in flight.
#[derive(Default)]
pub(crate) struct Reports {
    unread: Mutex<Vec<RawReport>>,
}

impl Reports {
    /// Moves all unread reports to the end of `into`.
    pub(super) fn read(&self, into: &mut Vec<RawReport>) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.lock());
        } else {
            into.append(&mut self.lock());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RawReport>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the client that is made from `conf` report here.
    ///
    /// # Safety
    /// `conf` is valid, and `self` stays where it is until that client's end.
    pub(super) unsafe fn subscribe(&self, conf: *mut sys::rd_kafka_conf_t) {
        let opaque = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: by this function's contract; the name is a C string and copied.
        unsafe { sys::rd_kafka_conf_interceptor_add_on_new(conf, NAME, Some(on_new), opaque) };
    }
}

/// The name of our interceptor.
const NAME: *const c_char = c"aioproducer".as_ptr();

thread_local! {
    static PRODUCING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call that enqueues messages. librdkafka "acknowledges" those that the call refuses; their fate is told by its
/// return value, and they may not even be whole messages.
pub(super) fn producing<T>(call: impl FnOnce() -> T) -> T {
    PRODUCING.set(true);
    let value = call();
    PRODUCING.set(false);
    value
}

unsafe extern "C" fn on_new(
    client: *mut sys::rd_kafka_t,
    _conf: *const sys::rd_kafka_conf_t,
    reports: *mut c_void,
    _error: *mut c_char,
    _error_size: usize,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: this is the one place from which the function may be called; the name is a C string and copied.
    unsafe { sys::rd_kafka_interceptor_add_on_acknowledgement(client, NAME, Some(on_acknowledgement), reports) }
}

unsafe extern "C" fn on_acknowledgement(
    _client: *mut sys::rd_kafka_t,
    message: *mut sys::rd_kafka_message_t,
    reports: *mut c_void,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: `Reports::subscribe` set the pointer, and by its contract it is valid.
    let reports = unsafe { &*reports.cast_const().cast::<Reports>() };
    // SAFETY: the message is valid, and an entry has its layout.
    let entry = unsafe { &*message.cast_const().cast::<Entry>() };
    if entry.err == 0 || !PRODUCING.get() {
        // SAFETY: the message is not one that a call refuses, so it is a whole one.
        let report = unsafe { read(message, entry) };
        reports.lock().push(report);
    }
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// # Safety
/// `message` is part of one of librdkafka's own messages, and `entry` is the same.
unsafe fn read(message: *const sys::rd_kafka_message_t, entry: &Entry) -> RawReport {
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
    let opaque = entry.opaque.addr() as u64;
    let (slot, copied) = (SlotId::from_bits(opaque & !COPIED), opaque & COPIED != 0);
    let copy = (copied && code != 0).then(|| {
        // SAFETY: by this function's contract.
        Box::new(unsafe { copy(entry) })
    });
    RawReport { slot, offset: entry.offset, timestamp, code, partition: entry.partition, status, copied, copy }
}

/// # Safety
/// `entry` is one of librdkafka's own messages.
unsafe fn copy(entry: &Entry) -> Copied {
    let bytes = |start: *mut c_void, len| {
        // SAFETY: key and payload are valid for their lengths while the message is.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec())
    };
    Copied { key: bytes(entry.key, entry.key_len), payload: bytes(entry.payload, entry.len) }
}
