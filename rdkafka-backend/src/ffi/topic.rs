//! Topic handles, and the partitioner that librdkafka calls for unassigned records.

use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Weak};
use std::time::Instant;

use aioproducer_core::TopicId;
use rdkafka_sys as sys;

use super::cells::Lent;
use super::raw_report::lent_slot;
use crate::catch_panic::catch_panic;
use crate::partition::choice::TopicState;

/// No topic has this partition, so librdkafka fails the record with `_UNKNOWN_PARTITION`.
const NO_PARTITION: i32 = i32::MAX;

/// A topic of one client. The client destroys the handle; the state is reference-counted.
pub(crate) struct Topic {
    handle: NonNull<sys::rd_kafka_topic_t>,
    owner: *mut sys::rd_kafka_t,
    callback: Arc<CallbackState>,
}

/// What the callbacks use.
struct CallbackState {
    id: TopicId,
    state: Arc<TopicState>,
    /// The records that librdkafka borrows. They belong to the client; this reference does not keep them alive.
    lent: Option<Weak<dyn Lent>>,
}

// SAFETY: librdkafka allows handle and owner on any thread; the rest is `Send`.
unsafe impl Send for Topic {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for Topic {}

impl Topic {
    pub(super) fn new(
        owner: *mut sys::rd_kafka_t,
        id: TopicId,
        name: &str,
        state: Arc<TopicState>,
        lent: Option<Weak<dyn Lent>>,
    ) -> Option<Self> {
        let c_name = CString::new(name).ok()?;
        let callback = Arc::new(CallbackState { id, state, lent });
        // SAFETY: the client is alive.
        let conf = unsafe { sys::rd_kafka_default_topic_conf_dup(owner) };
        // SAFETY: the configuration belongs to us; the callback has the expected signature and never unwinds.
        unsafe { sys::rd_kafka_topic_conf_set_partitioner_cb(conf, Some(partitioner)) };
        let opaque = Arc::as_ptr(&callback).cast_mut().cast();
        // SAFETY: the configuration belongs to us; the state outlives the client, which keeps this topic until its end.
        unsafe { sys::rd_kafka_topic_conf_set_opaque(conf, opaque) };
        // SAFETY: all three are valid; the configuration belongs to the callee from here on, even if it fails.
        let handle = unsafe { sys::rd_kafka_topic_new(owner, c_name.as_ptr(), conf) };
        Some(Self { handle: NonNull::new(handle)?, owner, callback })
    }

    /// The driver's id of the topic.
    pub(crate) fn id(&self) -> TopicId {
        self.callback.id
    }

    pub(crate) fn state(&self) -> &TopicState {
        &self.callback.state
    }

    /// The handle, for calls on the client `owner`, which keeps it alive.
    pub(super) fn handle(&self, owner: *mut sys::rd_kafka_t) -> *mut sys::rd_kafka_topic_t {
        assert_eq!(self.owner, owner, "a topic belongs to one client");
        self.handle.as_ptr()
    }

    /// # Safety
    /// It is called once, after the last use of the handle and before the client's end.
    pub(super) unsafe fn destroy(&self) {
        // SAFETY: by this function's contract.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) };
    }
}

thread_local! {
    /// The partition of the unassigned records that this thread hands off, if it is known.
    static KNOWN: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Hands off unassigned records with `call`, and answers with `partition` when librdkafka asks for theirs, if that partition exists.
/// So librdkafka says how many partitions there are, and the records go where they would have gone.
pub(crate) fn answering<T>(partition: i32, call: impl FnOnce() -> T) -> T {
    KNOWN.set(Some(partition));
    let result = call();
    KNOWN.set(None);
    result
}

/// The driver's id of a topic.
///
/// # Safety
/// `handle` is a topic that [`Topic::new`] has created, or null, and alive.
pub(super) unsafe fn id(handle: *mut c_void) -> Option<TopicId> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    let opaque = unsafe { sys::rd_kafka_topic_opaque(handle.cast_const().cast()) };
    // SAFETY: the opaque pointer is what `Topic::new` set, and the client keeps it until its end.
    unsafe { opaque.cast_const().cast::<CallbackState>().as_ref() }.map(|callback| callback.id)
}

/// Runs under librdkafka's lock of the topic: on a worker if librdkafka knows the partitions, else on librdkafka's main thread as
/// soon as it does.
unsafe extern "C" fn partitioner(
    topic: *const sys::rd_kafka_topic_t,
    key: *const c_void,
    key_len: usize,
    count: i32,
    callback: *mut c_void,
    message: *mut c_void,
) -> i32 {
    // SAFETY: the opaque pointer is what `Topic::new` set, and the client keeps it until its end.
    let CallbackState { state, lent, .. } = unsafe { &*callback.cast_const().cast::<CallbackState>() };
    let key = (!key.is_null()).then(|| {
        // SAFETY: librdkafka passes its copy of the key, which lives during the call.
        unsafe { slice::from_raw_parts(key.cast::<u8>(), key_len) }
    });
    let has_leader = |partition| {
        // SAFETY: this is a partitioner, and the topic is its own, as the function requires.
        let answer = unsafe { sys::rd_kafka_topic_partition_available(topic, partition) };
        answer != 0
    };
    let lent = lent.as_ref().filter(|_| state.reads_value()).and_then(Weak::upgrade);
    let value = lent.as_ref().and_then(|lent| {
        let slot = lent_slot(message.addr() as u64)?;
        // SAFETY: librdkafka asks about a message that it has just received or that waits for its topic. It does not report that
        // message before this function returns, and the value is not used after that.
        unsafe { lent.payload(slot) }
    });
    let known = KNOWN.get().filter(|known| (0..count).contains(known));
    let assigned = catch_panic(|| {
        state.observe(count, has_leader);
        known.or_else(|| state.assign(key, value, count))
    });
    match assigned.flatten() {
        Some(partition) => {
            // librdkafka has looked at everything else, so it accepts the record.
            state.sent(partition, 1, Instant::now);
            partition
        }
        None => NO_PARTITION,
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::time::Duration;

    use aioproducer_core::SlotId;

    use super::super::raw_report::COPIED;
    use super::*;
    use crate::coordination::Signals;
    use crate::partition::partitioner::{Choice, Partitioner};
    use crate::partition::partitioning::Partitioning;
    use crate::partition::states::TopicStates;

    type Native =
        unsafe extern "C" fn(*const sys::rd_kafka_topic_t, *const c_void, usize, i32, *mut c_void, *mut c_void) -> i32;

    /// librdkafka's partitioners by name, except `random`.
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
                // For these librdkafka would draw an available partition, and needs a topic for that.
                let is_random = match name {
                    "consistent_random" => len == 0,
                    _ => name.ends_with("_random") && key.is_none(),
                };
                for count in [1, 2, 3, 7, 12, 100, 10_007, i32::MAX] {
                    let found = ours.choose(key, count, |_, _| NO_PARTITION);
                    if is_random {
                        assert_eq!(found, Choice::Sticky, "{name} {key:?}");
                        continue;
                    }
                    // SAFETY: for these keys the functions use key and count only.
                    let theirs =
                        unsafe { native(ptr::null(), start.cast(), len, count, ptr::null_mut(), ptr::null_mut()) };
                    assert_eq!(found, Choice::Partition(theirs), "{name} {key:?} of {count}");
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
    fn s33_every_partitioner_of_librdkafka_has_a_rule() {
        let names: Vec<&str> = NATIVE.iter().map(|(name, _)| *name).chain(["random"]).collect();
        for name in &names {
            let mut config = rdkafka::ClientConfig::new();
            config.set("partitioner", *name);
            assert!(config.create_native_config().is_ok() && Partitioner::named(name).is_some(), "{name}");
        }
        for key in [&b""[..], b"key"] {
            assert_eq!(Partitioner::Random.choose(Some(key), 3, |_, _| NO_PARTITION), Choice::Random);
        }
        assert_eq!(Partitioner::Random.choose(None, 3, |_, _| NO_PARTITION), Choice::Sticky);
    }

    /// Holds one record.
    struct One(SlotId);

    impl Lent for One {
        unsafe fn payload(&self, slot: SlotId) -> Option<Option<&[u8]>> {
            (slot == self.0).then_some(Some(b"value"))
        }
    }

    /// The callback's answer for a message with this opaque value and the key "k". It looks at no partition of the topic.
    fn answer(rule: Partitioner, opaque: u64) -> i32 {
        let partitioning = Partitioning {
            crowd: 100,
            partitioner: rule,
            sticky_time: Duration::ZERO,
            sticky_bytes: 0,
            adaptive: true,
            availability_timeout: None,
        };
        let lent: Arc<dyn Lent> = Arc::new(One(SlotId::new(5, 3)));
        let state = TopicStates::new(Arc::new(Signals::new(1))).create(TopicId(0), "t", &partitioning);
        let callback = CallbackState { id: TopicId(0), state, lent: Some(Arc::downgrade(&lent)) };
        callback.state.observe(COUNT, |_| true);
        // The next call looks at no partition, because those with a leader are known.
        let callback = ptr::from_ref(&callback).cast_mut().cast();
        let message = ptr::without_provenance_mut(opaque as usize);
        // SAFETY: the topic is not used, see above; everything else is valid.
        unsafe { partitioner(ptr::null(), b"k".as_ptr().cast(), 1, COUNT, callback, message) }
    }

    const COUNT: i32 = 9;

    #[test]
    fn a_panicking_partitioner_does_not_unwind_into_c() {
        assert_eq!(answer(Partitioner::custom(|_| panic!("on purpose")), SlotId::new(5, 3).to_bits()), NO_PARTITION);
    }

    #[test]
    fn a_record_whose_partition_is_known_goes_there_if_it_exists() {
        let rule = || Partitioner::custom(|_| 2);
        let slot = SlotId::new(5, 3).to_bits();
        let answers = [0, COUNT - 1, COUNT, -1].map(|known| answering(known, || answer(rule(), slot)));
        assert_eq!(answers, [0, COUNT - 1, 2, 2]);
        assert_eq!(answer(rule(), slot), 2, "the call is over");
    }

    #[test]
    fn s09_a_rule_gets_the_value_of_its_record() {
        let rule = || Partitioner::custom(|record| record.value.map_or(0, |value| value.len() as i32));
        assert_eq!(answer(rule(), SlotId::new(5, 3).to_bits()), 5);
        assert_eq!(answer(rule(), SlotId::new(5, 4).to_bits()), NO_PARTITION, "another record has the slot");
        assert_eq!(answer(rule(), SlotId::new(5, 3).to_bits() | COPIED), NO_PARTITION, "it was copied");
    }
}
