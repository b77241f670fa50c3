//! Topic handles, and the partitioner that librdkafka calls for records whose partition is still open.

use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use aioproducer_core::TopicId;
use rdkafka_sys as sys;

use crate::topics::TopicState;

/// No topic has so many partitions: librdkafka fails the record with `_UNKNOWN_PARTITION`.
const NOWHERE: i32 = i32::MAX;

/// A topic of one client. The client destroys the handle; the state stays as long as anybody refers to it.
pub(crate) struct Topic {
    id: TopicId,
    handle: NonNull<sys::rd_kafka_topic_t>,
    owner: *mut sys::rd_kafka_t,
    state: Arc<TopicState>,
}

// SAFETY: handle and owner may be used from any thread; the rest is plain data.
unsafe impl Send for Topic {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for Topic {}

impl Topic {
    pub(super) fn new(owner: *mut sys::rd_kafka_t, id: TopicId, name: &str, state: TopicState) -> Option<Self> {
        let c_name = CString::new(name).ok()?;
        let state = Arc::new(state);
        // SAFETY: the client is alive.
        let conf = unsafe { sys::rd_kafka_default_topic_conf_dup(owner) };
        // SAFETY: the configuration is ours; the callback has the expected signature and never unwinds.
        unsafe { sys::rd_kafka_topic_conf_set_partitioner_cb(conf, Some(partitioner)) };
        let opaque = Arc::as_ptr(&state).cast_mut().cast();
        // SAFETY: the configuration is ours; the state outlives the client, which keeps this topic until its end.
        unsafe { sys::rd_kafka_topic_conf_set_opaque(conf, opaque) };
        // SAFETY: all three are valid; the configuration is the callee's from here on, also if it fails.
        let handle = unsafe { sys::rd_kafka_topic_new(owner, c_name.as_ptr(), conf) };
        Some(Self { id, handle: NonNull::new(handle)?, owner, state })
    }

    /// What the driver calls it.
    pub(crate) fn id(&self) -> TopicId {
        self.id
    }

    pub(crate) fn state(&self) -> &TopicState {
        &self.state
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
    use std::ptr;
    use std::time::Duration;

    use super::*;
    use crate::Partitioner;
    use crate::partitioner::Place;
    use crate::topics::Partitioning;

    type Native =
        unsafe extern "C" fn(*const sys::rd_kafka_topic_t, *const c_void, usize, i32, *mut c_void, *mut c_void) -> i32;

    /// librdkafka's rules by name, but `random`.
    const NATIVE: [(&str, Native); 6] = [
        ("murmur2", sys::rd_kafka_msg_partitioner_murmur2),
        ("murmur2_random", sys::rd_kafka_msg_partitioner_murmur2_random),
        ("consistent", sys::rd_kafka_msg_partitioner_consistent),
        ("consistent_random", sys::rd_kafka_msg_partitioner_consistent_random),
        ("fnv1a", sys::rd_kafka_msg_partitioner_fnv1a),
        ("fnv1a_random", sys::rd_kafka_msg_partitioner_fnv1a_random),
    ];

    #[test]
    fn s33_partitioners_agree_with_librdkafkas() {
        let compare = |key: Option<&[u8]>| {
            for (name, native) in NATIVE {
                let ours = Partitioner::named(name).expect("a rule");
                let (start, len) = key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
                // Then librdkafka chooses one that is available, and would look at a topic.
                let by_chance = match name {
                    "consistent_random" => len == 0,
                    _ => name.ends_with("_random") && key.is_none(),
                };
                for count in [1, 2, 3, 7, 12, 100, 10_007, i32::MAX] {
                    let found = ours.place(key, count);
                    if by_chance {
                        assert_eq!(found, Place::Sticky, "{name} {key:?}");
                        continue;
                    }
                    // SAFETY: for such keys these functions use key and count only.
                    let theirs =
                        unsafe { native(ptr::null(), start.cast(), len, count, ptr::null_mut(), ptr::null_mut()) };
                    assert_eq!(found, Place::Partition(theirs), "{name} {key:?} of {count}");
                }
            }
        };
        compare(None);
        compare(Some(b""));
        let mut key: Vec<u8> = Vec::new();
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        for round in 0..4000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            key.push((random >> 56) as u8);
            compare(Some(&key));
            if round % 64 == 63 {
                key.clear();
            }
        }
    }

    #[test]
    fn s33_every_name_that_librdkafka_takes_is_known_here() {
        let names: Vec<&str> = NATIVE.iter().map(|(name, _)| *name).chain(["random"]).collect();
        for name in &names {
            let mut config = rdkafka::ClientConfig::new();
            config.set("partitioner", *name);
            assert!(config.create_native_config().is_ok() && Partitioner::named(name).is_some(), "{name}");
        }
        for key in [&b""[..], b"key"] {
            assert_eq!(Partitioner::Random.place(Some(key), 3), Place::Anywhere);
        }
        assert_eq!(Partitioner::Random.place(None, 3), Place::Sticky);
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
