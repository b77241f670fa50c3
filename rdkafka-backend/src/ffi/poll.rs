//! Reading the main queue: messages that have ended, which are freed with their event, and what there is to tell.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka_sys as sys;

use super::Client;
use crate::catch_panic::catch_panic;
use crate::events::voice::Voice;
use crate::events::{ClientError, Event, EventSinks, LogLevel, LogLine, RawEvent, Throttle};
use crate::oauth::mailbox::TokenMailbox;
use crate::threads::signals::Signals;

/// Whom a client's callbacks and events are for.
pub(crate) struct Listeners {
    pub(crate) sinks: Arc<EventSinks>,
    /// Who gets tokens, if somebody does.
    pub(crate) tokens: Option<Arc<TokenMailbox>>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) voice: Voice,
}

impl ClientContext for Listeners {}

impl Listeners {
    /// Nobody is told anything more, or asked.
    pub(crate) fn close(&self) {
        self.sinks.close();
        if let Some(tokens) = &self.tokens {
            tokens.close();
        }
    }
}

/// The client is gone.
impl Drop for Listeners {
    fn drop(&mut self) {
        self.close();
    }
}

/// What one poll brought.
pub(crate) enum Polled {
    /// The queue is empty.
    Nothing,
    /// So many messages that have ended were freed, and the room that they took in librdkafka's queue.
    Freed(usize),
    /// The client has met an error. Whether it can recover from it [`Client::fatal`] knows.
    Error(ClientError),
    /// A line of the log.
    Log(LogLine),
    /// Something that is not acted on.
    Other,
}

impl<R> Client<R> {
    /// Takes one event from the main queue, without waiting.
    pub(crate) fn poll(&self) -> Polled {
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue(), 0) };
        if event.is_null() {
            return Polled::Nothing;
        }
        // SAFETY: the event is ours until it is destroyed below.
        let kind = unsafe { sys::rd_kafka_event_type(event) };
        let listeners = self.listeners();
        let polled = match kind {
            // SAFETY: as above.
            sys::RD_KAFKA_EVENT_DR => Polled::Freed(unsafe { sys::rd_kafka_event_message_count(event) }),
            sys::RD_KAFKA_EVENT_ERROR => {
                // SAFETY: as above, and it is of that kind.
                Polled::Error(unsafe { error(event) })
            }
            sys::RD_KAFKA_EVENT_LOG => {
                // SAFETY: as above.
                Polled::Log(unsafe { log_line(event) })
            }
            sys::RD_KAFKA_EVENT_STATS => {
                // SAFETY: as above.
                listeners.sinks.tell(|| unsafe { statistics(event) });
                Polled::Other
            }
            sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => {
                if let Some(tokens) = &listeners.tokens {
                    // SAFETY: as above.
                    tokens.ask(unsafe { token_config(event) }, Arc::clone(&listeners.signals));
                }
                Polled::Other
            }
            _ => Polled::Other,
        };
        // SAFETY: once.
        unsafe { sys::rd_kafka_event_destroy(event) };
        polled
    }
}

/// The main queue was empty and is not any more. PartitionGroups under the queue's lock, so it calls nothing of librdkafka.
pub(super) unsafe extern "C" fn on_event(_client: *mut sys::rd_kafka_t, listeners: *mut c_void) {
    // SAFETY: the client that set the pointer keeps the listeners until its end.
    let listeners = unsafe { &*listeners.cast_const().cast::<Listeners>() };
    listeners.signals.report();
}

/// A broker throttles. There is no event for it: librdkafka calls this on the thread that polls the main queue, and holds
/// no lock.
pub(super) unsafe extern "C" fn on_throttle(
    _client: *mut sys::rd_kafka_t,
    broker: *const c_char,
    broker_id: i32,
    time_ms: c_int,
    listeners: *mut c_void,
) {
    // SAFETY: the client, of which this is the context, keeps the listeners until its end.
    let listeners = unsafe { &*listeners.cast_const().cast::<Listeners>() };
    // It wakes the application's task.
    catch_panic(|| {
        listeners.sinks.tell(|| {
            let time = Duration::from_millis(u64::try_from(time_ms).unwrap_or(0));
            // SAFETY: librdkafka's C string.
            RawEvent::Event(Event::Throttle(Throttle { broker: unsafe { text(broker) }, broker_id, time }))
        });
    });
}

/// # Safety
/// `event` is an error, and alive.
unsafe fn error(event: *mut sys::rd_kafka_event_t) -> ClientError {
    // SAFETY: by this function's contract.
    let code = unsafe { sys::rd_kafka_event_error(event) } as i32;
    // SAFETY: as above.
    let reason = unsafe { sys::rd_kafka_event_error_string(event) };
    // SAFETY: as above.
    let fatal = unsafe { sys::rd_kafka_event_error_is_fatal(event) } != 0;
    // SAFETY: the event's C string.
    ClientError { code, reason: unsafe { text(reason) }, fatal }
}

/// # Safety
/// `event` is a log line, and alive.
unsafe fn log_line(event: *mut sys::rd_kafka_event_t) -> LogLine {
    let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: by this function's contract; the pointers are valid.
    unsafe { sys::rd_kafka_event_log(event, &mut facility, &mut message, &mut level) };
    // SAFETY: the event's C string, or null.
    let facility = unsafe { text(facility) };
    // SAFETY: as above.
    let message = unsafe { text(message) };
    LogLine { level: LogLevel::new(level), facility, message }
}

/// # Safety
/// `event` is statistics, and alive.
unsafe fn statistics(event: *mut sys::rd_kafka_event_t) -> RawEvent {
    // SAFETY: by this function's contract.
    let json = unsafe { sys::rd_kafka_event_stats(event) };
    // SAFETY: the event's C string.
    RawEvent::Statistics(unsafe { text(json) })
}

/// # Safety
/// `event` is a token request, and alive.
unsafe fn token_config(event: *mut sys::rd_kafka_event_t) -> String {
    // SAFETY: by this function's contract.
    let config = unsafe { sys::rd_kafka_event_config_string(event) };
    // SAFETY: the client's C string, or null.
    unsafe { text(config) }
}

/// # Safety
/// `string` is a C string or null.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().trim().to_owned()
}

/// librdkafka's text for an error code.
pub(crate) fn error_text(code: i32) -> &'static str {
    const UNKNOWN: &str = "an error that the client library has no text for";
    let Ok(code) = sys::rd_kafka_resp_err_t::try_from(code) else { return UNKNOWN };
    // SAFETY: no condition.
    let text = unsafe { sys::rd_kafka_err2str(code) };
    // SAFETY: a C string. It is constant, except for codes without a text, which are told by how theirs begins: that
    // one is in a buffer of this thread and is not kept.
    let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap_or(UNKNOWN);
    if text.starts_with("Err-") { UNKNOWN } else { text }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use aioproducer_core::TopicId;
    use rdkafka::ClientConfig;

    use super::*;
    use crate::config;
    use crate::config::secrets::Secrets;
    use crate::events::{EventSink, Events};

    /// How many events there are when topics were created, of which librdkafka was asked to write in its log.
    fn lines_of_a_client(sinks: Vec<EventSink>) -> usize {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1").set("debug", "topic");
        let effective = config::effective(&config, None, None, false).unwrap_or_else(|error| panic!("{error}"));
        let native = config::native(&config).unwrap_or_else(|error| panic!("{error}"));
        let sinks = Arc::new(EventSinks::new(sinks, Secrets::default()));
        let listeners = Listeners { sinks, tokens: None, signals: Arc::new(Signals::new(1)), voice: Voice::default() };
        let client = Client::<()>::new(&config, native, 1, listeners, None).unwrap_or_else(|error| panic!("{error}"));
        let events = || std::iter::from_fn(|| (!matches!(client.poll(), Polled::Nothing)).then_some(())).count();
        events();
        for (id, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(client.topic(TopicId(id as u32), name, None, &effective.partitioning).is_some());
        }
        events()
    }

    #[test]
    fn s34_nothing_is_logged_for_nobody() {
        let (sink, _events) = Events::new(8);
        assert!(lines_of_a_client(vec![sink]) > 0);
        assert_eq!(lines_of_a_client(Vec::new()), 0);
    }

    #[test]
    fn s34_a_throttled_producer_is_told() {
        let (sink, mut events) = Events::new(8);
        let sinks = Arc::new(EventSinks::new(vec![sink], Secrets::default()));
        let listeners = Listeners { sinks, tokens: None, signals: Arc::new(Signals::new(1)), voice: Voice::default() };
        let opaque = ptr::from_ref(&listeners).cast_mut().cast();
        for (broker, time_ms) in [(c"localhost:9092".as_ptr(), 250), (c"localhost:9092".as_ptr(), 0), (ptr::null(), -1)]
        {
            // SAFETY: the listeners are alive, the names are C strings or null.
            unsafe { on_throttle(ptr::null_mut(), broker, 7, time_ms, opaque) };
        }
        drop(listeners);
        let mut next = || {
            let next = std::pin::pin!(events.next());
            match next.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Event::Throttle(told))) => Some((told.broker, told.broker_id, told.time.as_millis())),
                Poll::Ready(None) => None,
                other => panic!("{other:?}"),
            }
        };
        let told: Vec<_> = std::iter::from_fn(&mut next).collect();
        let broker = String::from("localhost:9092");
        assert_eq!(told, [(broker.clone(), 7, 250), (broker, 7, 0), (String::new(), 7, 0)]);
    }
}
