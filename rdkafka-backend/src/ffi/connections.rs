//! The client's connections, from librdkafka's `on_broker_state_change`.
//!
//! Each broker that librdkafka knows, bootstrap servers included, has a thread of its own, and only that thread changes the
//! broker's state, connects, sends and disconnects. So the thread remembers whether its connection counts, and no table is
//! needed. librdkafka holds the broker's lock meanwhile: this counts, and wakes the control thread.
//!
//! Requests with records are made in the state `UP` only, and dropped from the queue of requests at the disconnection. In states
//! on the way to `UP` no record can be sent. States that follow it on the same connection (a login that is renewed) may still
//! send what was queued. So a connection counts from `UP`, which is reported before the thread sends anything, to `DOWN`, which
//! is reported after the socket is closed. A state that is not known here changes nothing, which errs towards "up".

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aioproducer_core::backend::Connections;
use rdkafka_sys as sys;

use crate::coordination::Signals;

/// The bits of the number of connections that are up. There are at most as many as brokers.
const UP_BITS: u32 = 24;

const UP: u64 = (1 << UP_BITS) - 1;

/// The connections of one client.
#[derive(Default)]
pub(crate) struct ConnectionCounts {
    /// Those that have come up and, in the low bits, those that are up: one number, so that both are read at the same time.
    counts: AtomicU64,
    /// The ids of the brokers that they lead to.
    brokers: Mutex<BTreeSet<i32>>,
    /// librdkafka reports here.
    is_subscribed: AtomicBool,
    /// Hears when the first connection is up, and when the last one is down.
    signals: OnceLock<Arc<Signals>>,
}

/// The id and the port by which librdkafka reports a broker. They never change.
type BrokerKey = (i32, c_int);

thread_local! {
    /// The broker of this thread, while its connection counts.
    static COUNTED: Cell<Option<BrokerKey>> = const { Cell::new(None) };
}

impl ConnectionCounts {
    /// `None` if librdkafka does not report them.
    pub(crate) fn get(&self) -> Option<Connections> {
        if !self.is_subscribed.load(Ordering::Relaxed) {
            return None;
        }
        // In one order with the changes: what was counted before a record was sent is seen after it was.
        let counts = self.counts.load(Ordering::SeqCst);
        let up = counts & UP;
        Some(Connections { up: up as u32, made: counts >> UP_BITS })
    }

    /// Whether there is a connection to a broker.
    pub(crate) fn is_up(&self, broker: i32) -> bool {
        self.brokers().contains(&broker)
    }

    fn brokers(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the control thread hear of the first and the last connection.
    pub(super) fn tell(&self, signals: &Arc<Signals>) {
        self.signals.get_or_init(|| Arc::clone(signals));
    }

    fn tell_if(&self, before: u64, changes_at: u64) {
        if before & UP == changes_at
            && let Some(signals) = self.signals.get()
        {
            signals.connection();
        }
    }

    /// Makes a client report here.
    ///
    /// # Safety
    /// It is called from the client's `on_new`, and the counts live until the client's end.
    pub(super) unsafe fn subscribe(
        &self,
        client: *mut sys::rd_kafka_t,
        name: *const c_char,
    ) -> sys::rd_kafka_resp_err_t {
        let opaque = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: by this function's contract; the name is a C string and copied.
        let error = unsafe {
            sys::rd_kafka_interceptor_add_on_broker_state_change(client, name, Some(on_broker_state_change), opaque)
        };
        let is_subscribed = error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        self.is_subscribed.store(is_subscribed, Ordering::Relaxed);
        error
    }

    /// The state of the broker of this thread has changed, or, if it is a new one, that of another thread.
    fn changed(&self, broker: BrokerKey, state: &CStr) {
        let before = COUNTED.get();
        match state.to_bytes() {
            // If a thread ever speaks for a second broker, the first counts as up from then on, which is the safe side.
            b"UP" if before != Some(broker) => {
                COUNTED.set(Some(broker));
                self.brokers().insert(broker.0);
                self.tell_if(self.counts.fetch_add((1 << UP_BITS) + 1, Ordering::SeqCst), 0);
            }
            b"DOWN" if before == Some(broker) => {
                COUNTED.set(None);
                self.brokers().remove(&broker.0);
                self.tell_if(self.counts.fetch_sub(1, Ordering::SeqCst), 1);
            }
            _ => {}
        }
    }
}

unsafe extern "C" fn on_broker_state_change(
    _client: *mut sys::rd_kafka_t,
    broker_id: i32,
    _protocol: *const c_char,
    _name: *const c_char,
    port: c_int,
    state: *const c_char,
    counts: *mut c_void,
) -> sys::rd_kafka_resp_err_t {
    // Without a port there is no partition: librdkafka's internal broker, and coordinators, which exist a second time as brokers.
    if port != 0 && !state.is_null() {
        // SAFETY: `ConnectionCounts::subscribe` set the pointer, and by its contract it is valid.
        let counts = unsafe { &*counts.cast_const().cast::<ConnectionCounts>() };
        // SAFETY: librdkafka's C string.
        counts.changed((broker_id, port), unsafe { CStr::from_ptr(state) });
    }
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::thread;

    use super::*;

    impl ConnectionCounts {
        fn subscribed() -> Self {
            let counts = Self::default();
            counts.is_subscribed.store(true, Ordering::Relaxed);
            counts
        }

        /// As librdkafka does it.
        fn report(&self, broker: BrokerKey, states: &[&CStr]) {
            let opaque = ptr::from_ref(self).cast_mut().cast();
            for state in states {
                let (client, text) = (ptr::null_mut(), c"host".as_ptr());
                // SAFETY: the counts are alive, and the texts are C strings.
                unsafe { on_broker_state_change(client, broker.0, text, text, broker.1, state.as_ptr(), opaque) };
            }
        }
    }

    fn at(up: u32, made: u64) -> Option<Connections> {
        Some(Connections { up, made })
    }

    const CONNECT: [&CStr; 5] = [c"INIT", c"TRY_CONNECT", c"CONNECT", c"SSL_HANDSHAKE", c"APIVERSION_QUERY"];
    const LOGIN: [&CStr; 2] = [c"AUTH_HANDSHAKE", c"AUTH_REQ"];

    #[test]
    fn a_connection_counts_from_up_to_down() {
        assert_eq!(ConnectionCounts::default().get(), None, "librdkafka does not report it");
        let counts = ConnectionCounts::subscribed();
        let broker = (1, 9092);
        for made in 1..=3 {
            counts.report(broker, &CONNECT);
            counts.report(broker, &LOGIN);
            assert_eq!(counts.get(), at(0, made - 1), "no record can be sent yet");
            counts.report(broker, &[c"DOWN"]);
            assert_eq!(counts.get(), at(0, made - 1), "it was not up");
            assert!(!counts.is_up(1));
            counts.report(broker, &[c"UP"]);
            assert_eq!(counts.get(), at(1, made));
            assert!(counts.is_up(1) && !counts.is_up(2));
            // The login is renewed, a newer librdkafka has another state, and another broker is added by this thread.
            counts.report(broker, &[c"REAUTH", c"AUTH_HANDSHAKE", c"AUTH_REQ", c"UP", c"UPDATE"]);
            counts.report((2, 9092), &[c"INIT"]);
            assert_eq!(counts.get(), at(1, made), "it is the same connection");
            counts.report(broker, &[c"DOWN", c"INIT"]);
            assert_eq!(counts.get(), at(0, made));
        }
    }

    #[test]
    fn brokers_that_lead_no_partition_do_not_count() {
        let counts = ConnectionCounts::subscribed();
        counts.report((-1, 0), &[c"UP"]);
        assert_eq!(counts.get(), at(0, 0));
    }

    #[test]
    fn a_thread_that_speaks_for_two_brokers_errs_towards_up() {
        let counts = ConnectionCounts::subscribed();
        counts.report((1, 9092), &[c"UP"]);
        counts.report((2, 9092), &[c"UP"]);
        counts.report((1, 9092), &[c"DOWN"]);
        assert_eq!(counts.get(), at(2, 2), "one is up, and one is not known to be down");
        counts.report((2, 9092), &[c"DOWN"]);
        assert_eq!(counts.get(), at(1, 2));
    }

    #[test]
    fn many_threads_count_exactly() {
        let counts = ConnectionCounts::subscribed();
        thread::scope(|scope| {
            for broker in 1..=8 {
                let counts = &counts;
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        counts.report((broker, 9092), &[c"CONNECT", c"UP", c"DOWN"]);
                    }
                    counts.report((broker, 9092), &[c"UP"]);
                });
            }
        });
        assert_eq!(counts.get(), at(8, 8 * 1_001));
    }
}
