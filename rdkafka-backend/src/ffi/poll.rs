//! Reading the main queue: errors, log lines, statistics, token requests, and messages that have ended, which are freed with
//! their event.

use std::ptr;
use std::sync::Arc;

use aioproducer_core::backend::ErrorCode;
use rdkafka_sys as sys;

use super::client::Client;
use super::text::text;
use crate::events::{ClientError, LogLevel, LogLine, RawEvent};

/// What one poll returned.
pub(crate) enum Polled {
    /// The queue is empty.
    Nothing,
    /// This number of messages that have ended were freed, and with them their room in librdkafka's queue.
    Freed(usize),
    /// An error of the client. [`Client::fatal`] knows whether it is fatal.
    Error(ClientError),
    /// A line of the log.
    Log(LogLine),
    /// Something that needs no action of the caller.
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
        // SAFETY: the event belongs to us until it is destroyed below.
        let kind = unsafe { sys::rd_kafka_event_type(event) };
        let context = self.context();
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
                context.sinks.write(|| unsafe { statistics(event) });
                Polled::Other
            }
            sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => {
                if let Some(tokens) = &context.tokens {
                    // SAFETY: as above.
                    tokens.request(unsafe { token_config(event) }, Arc::clone(&context.signals));
                }
                Polled::Other
            }
            _ => Polled::Other,
        };
        // SAFETY: destroyed once.
        unsafe { sys::rd_kafka_event_destroy(event) };
        polled
    }
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
    // SAFETY: a C string of the event, or null.
    ClientError { code: ErrorCode::new(code), reason: trimmed(unsafe { text(reason) }), fatal }
}

/// # Safety
/// `event` is a log line, and alive.
unsafe fn log_line(event: *mut sys::rd_kafka_event_t) -> LogLine {
    let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: by this function's contract; the pointers are valid for writing.
    unsafe { sys::rd_kafka_event_log(event, &mut facility, &mut message, &mut level) };
    // SAFETY: a C string of the event, or null.
    let facility = trimmed(unsafe { text(facility) });
    // SAFETY: as above.
    let message = trimmed(unsafe { text(message) });
    LogLine { level: LogLevel::new(level), facility, message }
}

/// # Safety
/// `event` is statistics, and alive.
unsafe fn statistics(event: *mut sys::rd_kafka_event_t) -> RawEvent {
    // SAFETY: by this function's contract.
    let json = unsafe { sys::rd_kafka_event_stats(event) };
    // SAFETY: a C string of the event, or null.
    RawEvent::Statistics(trimmed(unsafe { text(json) }))
}

/// # Safety
/// `event` is a token request, and alive.
unsafe fn token_config(event: *mut sys::rd_kafka_event_t) -> String {
    // SAFETY: by this function's contract.
    let config = unsafe { sys::rd_kafka_event_config_string(event) };
    // SAFETY: a C string of the client, or null.
    trimmed(unsafe { text(config) })
}

fn trimmed(text: Option<String>) -> String {
    text.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use aioproducer_core::TopicId;
    use rdkafka::ClientConfig;

    use super::super::context::CallbackContext;
    use super::*;
    use crate::config;
    use crate::config::secrets::Secrets;
    use crate::coordination::Signals;
    use crate::events::{EventRouter, EventSink, EventSinks, Events};
    use crate::partition::states::TopicStates;

    /// The number of events that the creation of topics causes when `debug` asks librdkafka to log it.
    fn events_of_a_client(sinks: Vec<EventSink>) -> usize {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1").set("debug", "topic");
        let effective = config::effective(&config, None, None, false).unwrap_or_else(|error| panic!("{error}"));
        let native = config::native(&config).unwrap_or_else(|error| panic!("{error}"));
        let sinks = Arc::new(EventSinks::new(sinks, Secrets::default()));
        let signals = Arc::new(Signals::new(1));
        let states = TopicStates::new(Arc::clone(&signals));
        let context = CallbackContext { sinks, tokens: None, signals, router: EventRouter::new(), is_renewed: false };
        let client =
            Client::<()>::new(&config, native, 1, context, None, states).unwrap_or_else(|error| panic!("{error}"));
        let events = || std::iter::from_fn(|| (!matches!(client.poll(), Polled::Nothing)).then_some(())).count();
        events();
        for (id, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(client.topic(TopicId(id as u32), name, None, &effective.partitioning).is_some());
        }
        events()
    }

    #[test]
    fn s34_nothing_is_logged_without_a_reader() {
        let (sink, _events) = Events::new(8);
        assert!(events_of_a_client(vec![sink]) > 0);
        assert_eq!(events_of_a_client(Vec::new()), 0);
    }
}
