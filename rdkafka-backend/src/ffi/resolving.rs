//! Tests of the end while librdkafka resolves a name, which takes as long as the test says.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aioproducer_core::backend::Status;
use rdkafka_sys as sys;

use crate::Librdkafka;
use crate::common::{Rec, Rig, broker, client, eventually};

type Resolve =
    unsafe extern "C" fn(*const c_char, *const c_char, *const c_void, *mut *mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn rd_kafka_conf_set_resolve_cb(conf: *mut sys::rd_kafka_conf_t, resolve: Option<Resolve>);
    fn getaddrinfo(node: *const c_char, service: *const c_char, hints: *const c_void, found: *mut *mut c_void)
    -> c_int;
    fn freeaddrinfo(found: *mut c_void);
}

thread_local! {
    static PLUGGED_IN: Cell<bool> = const { Cell::new(false) };
}

static HANGS: AtomicBool = AtomicBool::new(false);
static HANGING: AtomicUsize = AtomicUsize::new(0);

/// Has the client that is made from `conf` resolve names here, if this thread wants that.
///
/// # Safety
/// `conf` is valid.
pub(super) unsafe fn plug_in(conf: *mut sys::rd_kafka_conf_t) {
    if PLUGGED_IN.get() {
        // SAFETY: by this function's contract; the callback does what it is to do.
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
        // SAFETY: this is how librdkafka gives back what it was given.
        let found = unsafe { *found };
        // SAFETY: as above, once.
        unsafe { freeaddrinfo(found) };
        return 0;
    }
    HANGING.fetch_add(1, Ordering::SeqCst);
    while HANGS.load(Ordering::SeqCst) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    HANGING.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: librdkafka's arguments are getaddrinfo's.
    unsafe { getaddrinfo(node, service, hints, found) }
}

/// Large enough to be lent.
fn lent(id: u64) -> Rec {
    Rec::new(id).payload(vec![id as u8; 100_000]).to(0)
}

#[test]
fn s25_the_end_does_not_wait_for_a_name_to_be_resolved() {
    PLUGGED_IN.set(true);
    let broker = broker(1);
    let config = client(broker.bootstrap_servers(), &[("broker.address.ttl", "1"), ("reconnect.backoff.ms", "10")]);
    let rig = Rig::with(Librdkafka::new(config), 100, &["t"]);
    rig.send([lent(0)]);
    rig.wait(1);
    // The threads of all brokers lose their connections and ask for the address anew.
    HANGS.store(true, Ordering::SeqCst);
    broker.broker_down(-1).unwrap();
    eventually("a name is being resolved", || HANGING.load(Ordering::SeqCst) > 0);
    rig.send((1..50).map(lent));
    rig.wait_handed_off(49);
    let before = crate::clients_left_behind();
    let start = Instant::now();
    // It checks that each record has come back, as it was.
    let fates = rig.end();
    // Without an end that does not wait this would hang, so a loaded machine may have its time.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    for id in 1..50 {
        let Err((failure, record)) = &fates[&id] else { panic!("{id} was delivered") };
        assert_ne!(failure.status, Status::Persisted, "{id}");
        assert_eq!(record, &lent(id));
    }
    assert!(HANGING.load(Ordering::SeqCst) > 0, "it still hangs");
    assert_eq!(crate::clients_left_behind(), before + 1);
    HANGS.store(false, Ordering::SeqCst);
    eventually("the client ends", || crate::clients_left_behind() == before);
}
