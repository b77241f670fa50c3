//! A resolver of host names that hangs for as long as a test wants.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka_sys as sys;

type Resolve =
    unsafe extern "C" fn(*const c_char, *const c_char, *const c_void, *mut *mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn rd_kafka_conf_set_resolve_cb(conf: *mut sys::rd_kafka_conf_t, resolve: Option<Resolve>);
    fn getaddrinfo(node: *const c_char, service: *const c_char, hints: *const c_void, found: *mut *mut c_void)
    -> c_int;
    fn freeaddrinfo(found: *mut c_void);
}

thread_local! {
    static USED: Cell<bool> = const { Cell::new(false) };
}

static HANGS: AtomicBool = AtomicBool::new(false);
static HANGING: AtomicUsize = AtomicUsize::new(0);

/// Clients that this thread creates resolve names here.
pub(crate) fn use_here() {
    USED.set(true);
}

/// Whether the resolver hangs.
pub(crate) fn hang(hangs: bool) {
    HANGS.store(hangs, Ordering::SeqCst);
}

/// The number of threads that hang.
pub(crate) fn hanging() -> usize {
    HANGING.load(Ordering::SeqCst)
}

/// Makes the client that is created from `conf` resolve names here, if this thread has called [`use_here`].
///
/// # Safety
/// `conf` is valid.
pub(super) unsafe fn plug_in(conf: *mut sys::rd_kafka_conf_t) {
    if USED.get() {
        // SAFETY: by this function's contract; the callback does what librdkafka expects.
        unsafe { rd_kafka_conf_set_resolve_cb(conf, Some(resolve)) };
    }
}

unsafe extern "C" fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const c_void,
    found: *mut *mut c_void,
    _opaque: *mut c_void,
) -> c_int {
    if node.is_null() && service.is_null() {
        // SAFETY: with these arguments librdkafka returns an earlier result.
        let found = unsafe { *found };
        // SAFETY: as above, freed once.
        unsafe { freeaddrinfo(found) };
        return 0;
    }
    HANGING.fetch_add(1, Ordering::SeqCst);
    while HANGS.load(Ordering::SeqCst) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    HANGING.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: librdkafka's arguments are those of getaddrinfo.
    unsafe { getaddrinfo(node, service, hints, found) }
}
