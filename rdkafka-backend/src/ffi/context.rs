//! What librdkafka's callbacks use, and the callbacks of the client.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka_sys as sys;

use super::text::text;
use crate::catch_panic::catch_panic;
use crate::coordination::Signals;
use crate::events::{Event, EventRouter, EventSinks, RawEvent, Throttle};
use crate::oauth::TokenMailbox;

/// Receives a client's events, token requests and wake-ups.
pub(crate) struct CallbackContext {
    pub(crate) sinks: Arc<EventSinks>,
    /// There is one if the application has a token provider.
    pub(crate) tokens: Option<Arc<TokenMailbox>>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) router: EventRouter,
    /// Another client may follow, which writes to the same streams and asks the same provider.
    pub(crate) is_renewed: bool,
}

impl ClientContext for CallbackContext {}

impl CallbackContext {
    /// Ends the event streams and the provider's task, unless they outlive the client.
    pub(crate) fn close(&self) {
        if self.is_renewed {
            return;
        }
        self.sinks.close();
        if let Some(tokens) = &self.tokens {
            tokens.close();
        }
    }
}

/// The client has ended.
impl Drop for CallbackContext {
    fn drop(&mut self) {
        self.close();
    }
}

/// The main queue is no longer empty. Runs under the queue's lock, so it calls nothing of librdkafka.
pub(super) unsafe extern "C" fn on_event(_client: *mut sys::rd_kafka_t, context: *mut c_void) {
    // SAFETY: the client that set the pointer keeps the context until its end.
    let context = unsafe { &*context.cast_const().cast::<CallbackContext>() };
    context.signals.report();
}

/// A broker throttles the client. There is no event for it: librdkafka calls this on the thread that polls the main queue,
/// without a lock.
pub(super) unsafe extern "C" fn on_throttle(
    _client: *mut sys::rd_kafka_t,
    broker: *const c_char,
    broker_id: i32,
    time_ms: c_int,
    context: *mut c_void,
) {
    // SAFETY: the client, whose opaque pointer this is, keeps the context until its end.
    let context = unsafe { &*context.cast_const().cast::<CallbackContext>() };
    // It wakes a task of the application.
    catch_panic(|| {
        context.sinks.write(|| {
            let time = Duration::from_millis(u64::try_from(time_ms).unwrap_or(0));
            // SAFETY: librdkafka's C string, or null.
            let broker = unsafe { text(broker) }.unwrap_or_default();
            RawEvent::Event(Event::Throttle(Throttle { broker, broker_id, time }))
        });
    });
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::config::secrets::Secrets;
    use crate::events::Events;

    #[test]
    fn s34_throttling_is_an_event() {
        let (sink, mut events) = Events::new(8);
        let sinks = Arc::new(EventSinks::new(vec![sink], Secrets::default()));
        let signals = Arc::new(Signals::new(1));
        let context = CallbackContext { sinks, tokens: None, signals, router: EventRouter::new(), is_renewed: false };
        let opaque = ptr::from_ref(&context).cast_mut().cast();
        for (broker, time_ms) in [(c"localhost:9092".as_ptr(), 250), (c"localhost:9092".as_ptr(), 0), (ptr::null(), -1)]
        {
            // SAFETY: the context is alive; the names are C strings or null.
            unsafe { on_throttle(ptr::null_mut(), broker, 7, time_ms, opaque) };
        }
        drop(context);
        let mut next = || {
            let next = std::pin::pin!(events.next());
            match next.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Event::Throttle(it))) => Some((it.broker, it.broker_id, it.time.as_millis())),
                Poll::Ready(None) => None,
                other => panic!("{other:?}"),
            }
        };
        let found: Vec<_> = std::iter::from_fn(&mut next).collect();
        let broker = String::from("localhost:9092");
        assert_eq!(found, [(broker.clone(), 7, 250), (broker, 7, 0), (String::new(), 7, 0)]);
    }
}
