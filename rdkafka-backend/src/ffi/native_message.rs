//! librdkafka's message.

use std::ffi::c_void;
use std::mem::offset_of;

use rdkafka_sys as sys;

/// `rd_kafka_message_t`, with the error as a number: brokers may send codes that the bindings' enum lacks.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct NativeMessage {
    pub(super) err: i32,
    pub(super) rkt: *mut c_void,
    pub(super) partition: i32,
    pub(super) payload: *mut c_void,
    pub(super) len: usize,
    pub(super) key: *mut c_void,
    pub(super) key_len: usize,
    pub(super) offset: i64,
    pub(super) opaque: *mut c_void,
}

// SAFETY: the pointers of a message are plain values in Rust; only librdkafka dereferences them, during a call.
unsafe impl Send for NativeMessage {}

const _: () = {
    assert!(size_of::<NativeMessage>() == size_of::<sys::rd_kafka_message_t>());
    assert!(align_of::<NativeMessage>() == align_of::<sys::rd_kafka_message_t>());
    assert!(offset_of!(NativeMessage, err) == offset_of!(sys::rd_kafka_message_t, err));
    assert!(offset_of!(NativeMessage, partition) == offset_of!(sys::rd_kafka_message_t, partition));
    assert!(offset_of!(NativeMessage, payload) == offset_of!(sys::rd_kafka_message_t, payload));
    assert!(offset_of!(NativeMessage, len) == offset_of!(sys::rd_kafka_message_t, len));
    assert!(offset_of!(NativeMessage, key) == offset_of!(sys::rd_kafka_message_t, key));
    assert!(offset_of!(NativeMessage, key_len) == offset_of!(sys::rd_kafka_message_t, key_len));
    assert!(offset_of!(NativeMessage, offset) == offset_of!(sys::rd_kafka_message_t, offset));
    assert!(offset_of!(NativeMessage, opaque) == offset_of!(sys::rd_kafka_message_t, _private));
};
