//! Topic handles, and the partitioner that librdkafka calls for records whose partition is still open.

use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::slice;

use rdkafka_sys as sys;

use crate::topics::TopicState;

/// No topic has so many partitions: librdkafka fails the record with `_UNKNOWN_PARTITION`.
const NOWHERE: i32 = i32::MAX;

/// A topic of one client. The client destroys the handle; the state stays as long as anybody refers to it.
pub(crate) struct Topic {
    handle: NonNull<sys::rd_kafka_topic_t>,
    owner: *mut sys::rd_kafka_t,
    name: String,
    state: Box<TopicState>,
}

// SAFETY: handle and owner may be used from any thread; the rest is plain data.
unsafe impl Send for Topic {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for Topic {}

impl Topic {
    pub(super) fn new(owner: *mut sys::rd_kafka_t, name: &str, state: TopicState) -> Option<Self> {
        let c_name = CString::new(name).ok()?;
        let state = Box::new(state);
        // SAFETY: the client is alive.
        let conf = unsafe { sys::rd_kafka_default_topic_conf_dup(owner) };
        // SAFETY: the configuration is ours; the callback has the expected signature and never unwinds.
        unsafe { sys::rd_kafka_topic_conf_set_partitioner_cb(conf, Some(partitioner)) };
        let opaque = ptr::from_ref::<TopicState>(&state).cast_mut().cast();
        // SAFETY: the configuration is ours; the state outlives the client, which keeps this topic until its end.
        unsafe { sys::rd_kafka_topic_conf_set_opaque(conf, opaque) };
        // SAFETY: all three are valid; the configuration is the callee's from here on, also if it fails.
        let handle = unsafe { sys::rd_kafka_topic_new(owner, c_name.as_ptr(), conf) };
        Some(Self { handle: NonNull::new(handle)?, owner, name: name.into(), state })
    }

    pub(crate) fn state(&self) -> &TopicState {
        &self.state
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The handle, for calls on `owner`, which keeps it alive.
    pub(super) fn handle(&self, owner: *mut sys::rd_kafka_t) -> *mut sys::rd_kafka_topic_t {
        assert_eq!(self.owner, owner, "a topic belongs to one client");
        self.handle.as_ptr()
    }

    /// # Safety
    /// To be called once, after the last use of the handle and before the client's end.
    pub(super) unsafe fn destroy(&self) {
        // SAFETY: by this function's contract.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) };
    }
}

/// Runs under librdkafka's topic lock: on a worker if the partitions are known, else on librdkafka's main thread once
/// they are.
unsafe extern "C" fn partitioner(
    topic: *const sys::rd_kafka_topic_t,
    key: *const c_void,
    key_len: usize,
    count: i32,
    state: *mut c_void,
    _message: *mut c_void,
) -> i32 {
    // SAFETY: the opaque pointer is the state that `Topic::new` set, and the client keeps it until its end.
    let state = unsafe { &*state.cast_const().cast::<TopicState>() };
    let key = (!key.is_null()).then(|| {
        // SAFETY: librdkafka passes its copy of the key, which lives during the call.
        unsafe { slice::from_raw_parts(key.cast::<u8>(), key_len) }
    });
    let available = |partition| {
        // SAFETY: called from a partitioner, with its topic, as the function demands.
        let answer = unsafe { sys::rd_kafka_topic_partition_available(topic, partition) };
        answer != 0
    };
    catch_unwind(AssertUnwindSafe(|| state.assign(key, count, available))).ok().flatten().unwrap_or(NOWHERE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Partitioner;
    use crate::topics::Partitioning;

    type Native =
        unsafe extern "C" fn(*const sys::rd_kafka_topic_t, *const c_void, usize, i32, *mut c_void, *mut c_void) -> i32;

    #[test]
    fn partitioners_agree_with_librdkafkas() {
        let pairs: [(Partitioner, Native); 2] = [
            (Partitioner::Murmur2, sys::rd_kafka_msg_partitioner_murmur2),
            (Partitioner::Crc32, sys::rd_kafka_msg_partitioner_consistent),
        ];
        let mut key: Vec<u8> = Vec::new();
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        for round in 0..2000 {
            for (ours, native) in &pairs {
                for count in [1, 2, 3, 7, 12, 100, 10_007] {
                    // SAFETY: these functions use key and count only.
                    let theirs = unsafe {
                        native(ptr::null(), key.as_ptr().cast(), key.len(), count, ptr::null_mut(), ptr::null_mut())
                    };
                    assert_eq!(ours.choose(&key, count), Some(theirs), "{ours:?} {key:?} of {count}");
                }
            }
            if round % 64 == 63 {
                key.clear();
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            key.push((random >> 56) as u8);
        }
    }

    #[test]
    fn a_panicking_partitioner_does_not_unwind_into_c() {
        struct Bad;
        impl crate::Partition for Bad {
            fn partition(&self, _key: &[u8], _count: i32) -> i32 {
                panic!("on purpose")
            }
        }
        let partitioning = Partitioning {
            partitioner: Partitioner::Custom(std::sync::Arc::new(Bad)),
            sticky_time: Duration::ZERO,
            sticky_bytes: 0,
        };
        let state = TopicState::new(partitioning, 1);
        let state = ptr::from_ref(&state).cast_mut().cast();
        // SAFETY: with no partition to look at the topic is not touched; key and state are valid.
        let answer = unsafe { partitioner(ptr::null(), b"k".as_ptr().cast(), 1, 0, state, ptr::null_mut()) };
        assert_eq!(answer, NOWHERE);
    }
}
