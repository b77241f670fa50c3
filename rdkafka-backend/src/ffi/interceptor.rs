//! Delivery reports: librdkafka calls `on_acknowledgement` for each message that has ended, on its own threads.
//!
//! An interceptor is called while librdkafka itself handles the message, so the message is in the processor's cache. The
//! delivery report event that follows is only destroyed. That frees the messages, on the thread that allocated them.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::LocalKey;

use aioproducer_core::SlotId;
use aioproducer_core::backend::Delivered;
use rdkafka_sys as sys;

use super::connections::ConnectionCounts;
use super::ended::{Ended, EndedMessages};
use super::native_message::NativeMessage;
use super::raw_report::{ALONE, RawReport};
use super::topic;
use crate::catch_panic::catch_panic;

/// The most messages that are reported at once and not freed yet.
const AT_ONCE: usize = 16;

/// Reports on librdkafka's thread that a record was delivered, which saves a change of threads. False if it declines.
pub(crate) type AtOnce = Box<dyn Fn(SlotId, Delivered) -> bool + Send + Sync>;

/// Reports that no thread has read yet: at most one for each record in flight.
pub(crate) struct Reports {
    unread: Mutex<Unread>,
    at_once: Option<AtOnce>,
    /// Messages that were reported at once and are not freed yet.
    not_freed: AtomicUsize,
    connections: Arc<ConnectionCounts>,
}

#[derive(Default)]
struct Unread {
    reports: Vec<RawReport>,
    /// The messages of these reports, and of those that were reported at once.
    ended: EndedMessages,
}

impl Reports {
    pub(super) fn new(at_once: Option<AtOnce>) -> Self {
        Self { unread: Mutex::default(), at_once, not_freed: AtomicUsize::new(0), connections: Arc::default() }
    }

    /// The number of `freed` messages that were reported at once. One thread calls this at a time; others only add.
    pub(super) fn take_reported(&self, freed: usize) -> usize {
        let settled = self.not_freed.load(Ordering::Relaxed).min(freed);
        self.not_freed.fetch_sub(settled, Ordering::Relaxed);
        settled
    }

    /// Reports the success of a record at once, if it was handed off alone. Returns whether it did.
    fn report_at_once(&self, entry: &NativeMessage, report: &RawReport) -> bool {
        let Some(at_once) = &self.at_once else { return false };
        let alone = entry.opaque.addr() as u64 & ALONE != 0;
        if !alone || report.code != 0 || self.not_freed.load(Ordering::Relaxed) >= AT_ONCE {
            return false;
        }
        let marked = Mark::set(&IN_INTERCEPTOR);
        // It wakes a task of the application.
        let reported = catch_panic(|| at_once(report.slot, report.delivered())) != Some(false);
        drop(marked);
        if reported {
            // The event that frees the message comes after this.
            self.not_freed.fetch_add(1, Ordering::Relaxed);
        }
        reported
    }

    /// The connections of the client that reports here.
    pub(super) fn connections(&self) -> &Arc<ConnectionCounts> {
        &self.connections
    }

    /// Moves all unread reports to the end of `into`, and the counts of messages that have ended to the end of `ended`.
    pub(super) fn read(&self, into: &mut Vec<RawReport>, ended: &mut Vec<Ended>) {
        let mut unread = self.lock();
        unread.ended.take(ended);
        if into.is_empty() {
            std::mem::swap(into, &mut unread.reports);
        } else {
            into.append(&mut unread.reports);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the client that is created from `conf` report here.
    ///
    /// # Safety
    /// `conf` is valid, and the caller keeps the reports until that client's end.
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
    static IN_INTERCEPTOR: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread for a while. Code of the application that is called meanwhile may use another producer, whose mark ends
/// earlier. So the end of a mark, which may be a panic, restores the value from before.
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

/// Whether this thread is inside of an interceptor, where librdkafka must not be called.
pub(crate) fn is_in_interceptor() -> bool {
    IN_INTERCEPTOR.get()
}

/// Runs a call that enqueues messages. librdkafka also "acknowledges" the messages that the call refuses. Their outcome is the
/// call's return value, and they may not even be whole messages.
pub(super) fn producing<T>(call: impl FnOnce() -> T) -> T {
    debug_assert!(!is_in_interceptor(), "librdkafka forbids calls from interceptors");
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
    // SAFETY: the function may be called from `on_new` only, which this is; the name is a C string and copied.
    let error =
        unsafe { sys::rd_kafka_interceptor_add_on_acknowledgement(client, NAME, Some(on_acknowledgement), reports) };
    if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return error;
    }
    // SAFETY: `Reports::subscribe` set the pointer, and by its contract it is valid.
    let reports = unsafe { &*reports.cast_const().cast::<Reports>() };
    // SAFETY: this is `on_new`; the reports own the counts, and live until the client's end.
    unsafe { reports.connections.subscribe(client, NAME) }
}

unsafe extern "C" fn on_acknowledgement(
    _client: *mut sys::rd_kafka_t,
    message: *mut sys::rd_kafka_message_t,
    reports: *mut c_void,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: `Reports::subscribe` set the pointer, and by its contract it is valid.
    let reports = unsafe { &*reports.cast_const().cast::<Reports>() };
    // SAFETY: the message is valid, and `NativeMessage` has its layout.
    let entry = unsafe { &*message.cast_const().cast::<NativeMessage>() };
    if entry.err == 0 || !PRODUCING.get() {
        // SAFETY: the message is not one that a call refuses, so it is a whole message.
        let report = unsafe { RawReport::read(message, entry) };
        let reported = reports.report_at_once(entry, &report);
        let mut unread = reports.lock();
        unread.ended.count(entry, || {
            // SAFETY: the message keeps its topic alive.
            let topic = unsafe { topic::id(entry.rkt) };
            // SAFETY: as above, the message is whole.
            let broker = unsafe { sys::rd_kafka_message_broker_id(message) };
            topic.map(|topic| (topic, (broker >= 0).then_some(broker)))
        });
        if !reported {
            unread.reports.push(report);
        }
    }
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use aioproducer_core::backend::Status;

    use super::super::raw_report::COPIED;
    use super::*;

    /// Whether a report with these marks is reported at once.
    fn is_at_once(reports: &Reports, marks: u64, code: i32) -> bool {
        let (slot, status, null) = (SlotId::new(3, 7), Status::Persisted, ptr::null_mut());
        let opaque = ptr::without_provenance_mut((slot.to_bits() | marks) as usize);
        let (rkt, payload, key) = (ptr::null_mut(), null, null);
        let entry = NativeMessage { err: code, rkt, partition: 0, payload, len: 0, key, key_len: 0, offset: 5, opaque };
        let report =
            RawReport { slot, offset: 5, timestamp: 9, code, partition: 0, status, copied: true, details: None };
        reports.report_at_once(&entry, &report)
    }

    #[test]
    fn s28_only_the_success_of_a_lone_record_is_reported_at_once_and_only_some_before_they_are_freed() {
        let reports = Reports::new(Some(Box::new(|slot, delivered| {
            assert!(is_in_interceptor());
            slot == SlotId::new(3, 7) && delivered.offset() == Some(5)
        })));
        assert!(!is_at_once(&reports, COPIED, 0) && !is_at_once(&reports, COPIED | ALONE, 1));
        assert_eq!(reports.take_reported(9), 0);
        for _ in 0..AT_ONCE {
            assert!(is_at_once(&reports, COPIED | ALONE, 0));
        }
        assert!(!is_at_once(&reports, COPIED | ALONE, 0) && !is_in_interceptor());
        assert_eq!(
            [reports.take_reported(1), reports.take_reported(100), reports.take_reported(1)],
            [1, AT_ONCE - 1, 0]
        );
        assert!(is_at_once(&reports, COPIED | ALONE, 0));
        assert!(!is_at_once(&Reports::new(None), COPIED | ALONE, 0), "the queue has no spare room");
    }

    #[test]
    fn marks_of_one_producer_outlive_another_s_on_the_same_thread() {
        let caught = producing(|| {
            producing(|| assert!(PRODUCING.get()));
            assert!(PRODUCING.get(), "the outer call goes on");
            catch_panic(|| producing(|| panic!("on purpose")))
        });
        assert_eq!(caught, None::<()>);
        assert!(!PRODUCING.get(), "the outer call is over");

        let inner = Reports::new(Some(Box::new(|_, _| true)));
        let outer = Reports::new(Some(Box::new(move |_, _| {
            assert!(is_at_once(&inner, COPIED | ALONE, 0) && is_in_interceptor(), "the outer interceptor still runs");
            true
        })));
        assert!(is_at_once(&outer, COPIED | ALONE, 0) && !is_in_interceptor());
    }

    #[test]
    fn s28_a_report_that_the_driver_declines_is_read_later_and_a_panic_of_a_waker_is_caught() {
        let declines = Reports::new(Some(Box::new(|_, _| false)));
        assert!(!is_at_once(&declines, COPIED | ALONE, 0));
        assert_eq!(declines.take_reported(1), 0);
        let panics = Reports::new(Some(Box::new(|_, _| panic!("on purpose"))));
        assert!(is_at_once(&panics, COPIED | ALONE, 0) && !is_in_interceptor());
        assert_eq!(panics.take_reported(1), 1);
    }
}
