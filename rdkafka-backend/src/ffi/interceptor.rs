//! Delivery reports: librdkafka calls `on_acknowledgement` for each message that has ended, on its own threads.
//!
//! An interceptor hears of a message while librdkafka itself looks at it, so what it says of the message is in the
//! cache. The delivery report event that follows is only destroyed, which frees the messages, and on the thread that they
//! were allocated on.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::LocalKey;
use std::{ptr, slice};

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Copied, Delivered, Status};
use rdkafka_sys as sys;

use super::message::NativeMessage;
use crate::catch_panic::catch_panic;

/// A delivery report before its record was found.
pub(crate) struct RawReport {
    pub(crate) slot: SlotId,
    /// -1 if no broker has told it.
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) code: i32,
    pub(crate) partition: i32,
    pub(crate) status: Status,
    /// librdkafka had copied the record, which is in no cell.
    pub(crate) copied: bool,
    /// What else there is of a record that failed.
    pub(crate) failed: Option<Box<Failed>>,
}

/// Of a record that failed.
pub(crate) struct Failed {
    /// What librdkafka had copied of it.
    pub(crate) copy: Option<Copied>,
    /// What the broker said about this record (`rd_kafka_message_produce_errstr`).
    pub(crate) said: Option<Box<str>>,
}

impl RawReport {
    /// Where the record is, if it was delivered.
    pub(crate) fn delivered(&self) -> Delivered {
        Delivered { partition: self.partition, offset: self.offset, timestamp: self.timestamp }
    }
}

/// Marks the slot in a message's opaque whose record librdkafka has copied.
pub(super) const COPIED: u64 = 1 << 31;

/// Marks the slot of a copied record that went alone: its success is told at once.
pub(super) const ALONE: u64 = 1 << 30;

/// Marks the slot of a copied record that is urgent. Slots from this number on are not handed off.
pub(super) const URGENT: u64 = 1 << 29;

/// The slot whose record a message with this opaque borrows; `None` if it has a copy.
pub(super) fn lent_slot(opaque: u64) -> Option<SlotId> {
    (opaque & COPIED == 0).then(|| SlotId::from_bits(opaque & !(ALONE | URGENT)))
}

/// Messages of reports that were told at once, that may wait to be freed.
const EARLY: usize = 16;

/// Hears on librdkafka's thread that a record was delivered, which saves a change of threads; false if it will not.
pub(crate) type AtOnce = Box<dyn Fn(SlotId, Delivered) -> bool + Send + Sync>;

/// Reports that nobody has read yet: at most one for each record in flight.
pub(crate) struct Reports {
    unread: Mutex<Vec<RawReport>>,
    at_once: Option<AtOnce>,
    /// Messages whose reports were told at once and that are not freed.
    early: AtomicUsize,
}

impl Reports {
    pub(super) fn new(at_once: Option<AtOnce>) -> Self {
        Self { unread: Mutex::default(), at_once, early: AtomicUsize::new(0) }
    }

    /// How many of `freed` messages had their reports told before. One thread asks at a time; others only add.
    pub(super) fn settle_early(&self, freed: usize) -> usize {
        let settled = self.early.load(Ordering::Relaxed).min(freed);
        self.early.fetch_sub(settled, Ordering::Relaxed);
        settled
    }

    /// Tells of a record's success at once, if it is one that went alone, and whether it did.
    fn tell(&self, entry: &NativeMessage, report: &RawReport) -> bool {
        let Some(at_once) = &self.at_once else { return false };
        let alone = entry.opaque.addr() as u64 & ALONE != 0;
        if !alone || report.code != 0 || self.early.load(Ordering::Relaxed) >= EARLY {
            return false;
        }
        let marked = Mark::set(&TELLING);
        // It wakes the application's task.
        let told = catch_panic(|| at_once(report.slot, report.delivered())) != Some(false);
        drop(marked);
        if told {
            // The message's event comes after this.
            self.early.fetch_add(1, Ordering::Relaxed);
        }
        told
    }

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
    /// `conf` is valid, and somebody keeps the reports until that client's end.
    pub(super) unsafe fn subscribe(self: &Arc<Self>, conf: *mut sys::rd_kafka_conf_t) {
        let opaque = Arc::as_ptr(self).cast_mut().cast();
        // SAFETY: by this function's contract; the name is a C string and copied.
        unsafe { sys::rd_kafka_conf_interceptor_add_on_new(conf, NAME, Some(on_new), opaque) };
    }
}

/// The name of our interceptor.
const NAME: *const c_char = c"aioproducer".as_ptr();

thread_local! {
    static PRODUCING: Cell<bool> = const { Cell::new(false) };
    static TELLING: Cell<bool> = const { Cell::new(false) };
    static COUNTING: Cell<Counting> = const { Cell::new(Counting::NOTHING) };
}

/// Marks this thread for a while. Application code that is called in between may use another producer, whose marks end
/// sooner; so what was there before is there again after it, also if a panic ends it.
struct Mark {
    cell: &'static LocalKey<Cell<bool>>,
    before: bool,
}

impl Mark {
    fn set(cell: &'static LocalKey<Cell<bool>>) -> Self {
        Self { cell, before: cell.replace(true) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}

/// What librdkafka gives messages for offsets if their answer has none. It counts from the base of the answer in any case
/// (`rd_kafka_msgq_set_metadata`): -1, 0, 1, … for an answer that knows the records already, -1001, -1000, … without
/// acknowledgements.
///
/// The messages of an answer are acknowledged one after another on one thread, so the next one of the same partition that has
/// the next number was counted, too. A number that a broker has told is greater: the records that were counted are in the log
/// before it.
#[derive(Clone, Copy)]
struct Counting {
    topic: *mut c_void,
    partition: i32,
    next: i64,
}

impl Counting {
    const NOTHING: Self = Self { topic: ptr::null_mut(), partition: 0, next: i64::MIN };
}

/// The offset of a delivered message, -1 if no broker has told it.
fn told_offset(entry: &NativeMessage) -> i64 {
    let NativeMessage { offset, partition, rkt: topic, .. } = *entry;
    let counting = COUNTING.get();
    if offset < 0 || (offset == counting.next && topic == counting.topic && partition == counting.partition) {
        COUNTING.set(Counting { topic, partition, next: offset + 1 });
        return -1;
    }
    if counting.next != i64::MIN {
        COUNTING.set(Counting::NOTHING);
    }
    offset
}

/// Whether this is inside of an interceptor, where librdkafka is not to be called.
pub(crate) fn is_telling() -> bool {
    TELLING.get()
}

/// PartitionGroups a call that enqueues messages. librdkafka "acknowledges" those that the call refuses; their fate is told by its
/// return value, and they may not even be whole messages.
pub(super) fn producing<T>(call: impl FnOnce() -> T) -> T {
    debug_assert!(!is_telling(), "librdkafka forbids calls from interceptors");
    let _marked = Mark::set(&PRODUCING);
    call()
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
    let entry = unsafe { &*message.cast_const().cast::<NativeMessage>() };
    if entry.err == 0 || !PRODUCING.get() {
        // SAFETY: the message is not one that a call refuses, so it is a whole one.
        let report = unsafe { read(message, entry) };
        if !reports.tell(entry, &report) {
            reports.lock().push(report);
        }
    }
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// # Safety
/// `message` is part of one of librdkafka's own messages, and `entry` is the same.
unsafe fn read(message: *const sys::rd_kafka_message_t, entry: &NativeMessage) -> RawReport {
    // SAFETY: the message is valid; the kind of timestamp is not asked for.
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
    let (slot, copied) = (SlotId::from_bits(opaque & !(COPIED | ALONE | URGENT)), opaque & COPIED != 0);
    let offset = if code == 0 { told_offset(entry) } else { -1 };
    let failed = (code != 0).then(|| {
        // SAFETY: by this function's contract.
        let said = unsafe { said(message) };
        // One bad record gives its error to the whole batch, and librdkafka tells the others by this text alone.
        if said.as_ref().is_some_and(|said| said.starts_with(OF_ANOTHER)) {
            code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD as i32;
        }
        // SAFETY: by this function's contract.
        let copy = copied.then(|| unsafe { copy(entry) });
        (copy.is_some() || said.is_some()).then(|| Box::new(Failed { copy, said }))
    });
    RawReport { slot, offset, timestamp, code, partition: entry.partition, status, copied, failed: failed.flatten() }
}

/// How librdkafka begins what it says of a record that failed because of another one in its batch.
const OF_ANOTHER: &str = "Failed to append record because it was part of a batch";

/// What the broker said about a record.
///
/// # Safety
/// `message` is part of one of librdkafka's own messages, and has failed.
unsafe fn said(message: *const sys::rd_kafka_message_t) -> Option<Box<str>> {
    // SAFETY: by this function's contract; it reads a field of the message.
    let said = unsafe { sys::rd_kafka_message_produce_errstr(message) };
    if said.is_null() {
        return None;
    }
    // SAFETY: a C string that lives as long as the call that this is a part of.
    Some(unsafe { CStr::from_ptr(said) }.to_string_lossy().into())
}

/// # Safety
/// `entry` is one of librdkafka's own messages.
unsafe fn copy(entry: &NativeMessage) -> Copied {
    let bytes = |start: *mut c_void, len| {
        // SAFETY: key and payload are valid for their lengths while the message is.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec())
    };
    let urgent = entry.opaque.addr() as u64 & URGENT != 0;
    Copied { key: bytes(entry.key, entry.key_len), payload: bytes(entry.payload, entry.len), urgent }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a report with these marks is told at once.
    fn is_told(reports: &Reports, marks: u64, code: i32) -> bool {
        let (slot, status, nothing) = (SlotId::new(3, 7), Status::Persisted, ptr::null_mut());
        let opaque = ptr::without_provenance_mut((slot.to_bits() | marks) as usize);
        let (rkt, payload, key) = (ptr::null_mut(), nothing, nothing);
        let entry = NativeMessage { err: code, rkt, partition: 0, payload, len: 0, key, key_len: 0, offset: 5, opaque };
        let report =
            RawReport { slot, offset: 5, timestamp: 9, code, partition: 0, status, copied: true, failed: None };
        reports.tell(&entry, &report)
    }

    #[test]
    fn s28_only_the_success_of_what_went_alone_is_told_at_once_and_not_too_many_before_they_are_freed() {
        let reports = Reports::new(Some(Box::new(|slot, delivered| {
            assert!(is_telling());
            slot == SlotId::new(3, 7) && delivered.offset == 5
        })));
        assert!(!is_told(&reports, COPIED, 0) && !is_told(&reports, COPIED | ALONE, 1));
        assert_eq!(reports.settle_early(9), 0);
        for _ in 0..EARLY {
            assert!(is_told(&reports, COPIED | ALONE, 0));
        }
        assert!(!is_told(&reports, COPIED | ALONE, 0) && !is_telling());
        assert_eq!([reports.settle_early(1), reports.settle_early(100), reports.settle_early(1)], [1, EARLY - 1, 0]);
        assert!(is_told(&reports, COPIED | ALONE, 0));
        assert!(!is_told(&Reports::new(None), COPIED | ALONE, 0), "the queue has no room to spare");
    }

    #[test]
    fn marks_of_one_producer_outlive_another_s_on_the_same_thread() {
        let contained = producing(|| {
            producing(|| assert!(PRODUCING.get()));
            assert!(PRODUCING.get(), "the outer call goes on");
            catch_panic(|| producing(|| panic!("a partitioner that panics, as the test has it")))
        });
        assert_eq!(contained, None::<()>);
        assert!(!PRODUCING.get(), "the outer call is over");

        let inner = Reports::new(Some(Box::new(|_, _| true)));
        let outer = Reports::new(Some(Box::new(move |_, _| {
            assert!(is_told(&inner, COPIED | ALONE, 0) && is_telling(), "the outer report is being told");
            true
        })));
        assert!(is_told(&outer, COPIED | ALONE, 0) && !is_telling());
    }

    #[test]
    fn s47_offsets_that_were_counted_up_from_none_are_none() {
        let [one, other] = [1, 2].map(ptr::without_provenance_mut);
        let told = |rkt, partition, offsets: &[i64]| -> Vec<i64> {
            let (nothing, err) = (ptr::null_mut(), 0);
            let entry = |offset| NativeMessage {
                err,
                rkt,
                partition,
                payload: nothing,
                len: 0,
                key: nothing,
                key_len: 0,
                offset,
                opaque: nothing,
            };
            offsets.iter().map(|offset| told_offset(&entry(*offset))).collect()
        };
        assert_eq!(told(one, 0, &[0, 1, 2]), [0, 1, 2], "the first offset that there is");
        assert_eq!(told(one, 0, &[-1, 0, 1]), [-1; 3], "an answer that knows the records already");
        assert_eq!(told(one, 0, &[6, 7]), [6, 7], "the next answer");
        assert_eq!(told(one, 0, &[2]), [2], "nothing is counted any more");
        assert_eq!(told(one, 0, &[-1, 0]), [-1; 2]);
        assert_eq!(told(one, 1, &[1, 2]), [1, 2], "another partition");
        assert_eq!(told(one, 0, &[-1, 0]), [-1; 2]);
        assert_eq!(told(other, 0, &[1, 2]), [1, 2], "another topic");
        let without_acknowledgement: Vec<i64> = (-1_001..4_000).collect();
        assert_eq!(told(one, 0, &without_acknowledgement), vec![-1; 5_001]);
        assert_eq!(told(one, 0, &without_acknowledgement[..7]), [-1; 7], "the next request");
        let other_thread = std::thread::spawn(|| COUNTING.get().next).join().expect("it ends");
        assert_eq!(other_thread, i64::MIN);
    }

    #[test]
    fn s28_what_the_driver_declines_is_read_later_and_a_panic_of_a_waker_stays_there() {
        let declines = Reports::new(Some(Box::new(|_, _| false)));
        assert!(!is_told(&declines, COPIED | ALONE, 0));
        assert_eq!(declines.settle_early(1), 0);
        let panics = Reports::new(Some(Box::new(|_, _| panic!("a waker that panics, as the test has it"))));
        assert!(is_told(&panics, COPIED | ALONE, 0) && !is_telling());
        assert_eq!(panics.settle_early(1), 1);
    }
}
