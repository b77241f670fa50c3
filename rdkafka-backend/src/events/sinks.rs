//! All event streams and handlers of one producer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::secrets::Secrets;
use crate::events::event::{Event, LogLevel};
use crate::events::ring::{EventSink, RawEvent};

/// Writes events to all readers, without secrets.
pub(crate) struct EventSinks {
    sinks: Vec<EventSink>,
    secrets: Mutex<Secrets>,
    panics: AtomicU64,
    /// Lines of the log that are less urgent are not written.
    log_level: LogLevel,
}

impl EventSinks {
    pub(crate) fn new(mut sinks: Vec<EventSink>, secrets: Secrets) -> Self {
        sinks.retain(EventSink::has_reader);
        Self { sinks, secrets: Mutex::new(secrets), panics: AtomicU64::new(0), log_level: LogLevel::Debug }
    }

    /// Writes lines of the log up to `level` only.
    pub(crate) fn with_log_level(mut self, level: i32) -> Self {
        self.log_level = LogLevel::new(level);
        self
    }

    /// Whether there is a reader now.
    pub(crate) fn has_reader(&self) -> bool {
        self.sinks.iter().any(EventSink::has_reader)
    }

    /// Whether there were no readers from the beginning.
    pub(crate) fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Writes an event to all readers. Without any, the event is not even made.
    pub(crate) fn write(&self, event: impl FnOnce() -> RawEvent) {
        if let Some((last, others)) = self.sinks.split_last() {
            let event = self.redact(event());
            if matches!(&event, RawEvent::Event(Event::Log(line)) if line.level > self.log_level) {
                return;
            }
            others.iter().for_each(|sink| sink.push(event.clone()));
            last.push(event);
        }
    }

    /// Reports that `code` of the application panicked and the panic was caught.
    pub(crate) fn panic_caught(&self, code: &'static str) {
        let total = 1 + self.panics.fetch_add(1, Ordering::Relaxed);
        self.write(|| RawEvent::Event(Event::Panicked { code, total }));
    }

    /// Writes no more, so the streams end.
    pub(crate) fn close(&self) {
        self.sinks.iter().for_each(EventSink::close);
    }

    fn redact(&self, mut event: RawEvent) -> RawEvent {
        let text = match &mut event {
            RawEvent::Event(Event::Error(error)) => &mut error.reason,
            RawEvent::Event(Event::Log(line)) => &mut line.message,
            _ => return event,
        };
        *text = self.hide(std::mem::take(text));
        event
    }

    /// `text` without secrets.
    pub(crate) fn hide(&self, text: String) -> String {
        self.secrets().hide(text)
    }

    /// Hides `secret` from now on.
    pub(crate) fn add_secret(&self, secret: &str) {
        self.secrets().add(secret);
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use aioproducer_core::backend::ErrorCode;

    use super::*;
    use crate::events::event::ClientError;
    use crate::events::stream::Events;

    fn error(reason: &str) -> RawEvent {
        RawEvent::Event(Event::Error(ClientError {
            code: ErrorCode::LocalTransport,
            reason: reason.to_owned(),
            fatal: false,
        }))
    }

    fn next(events: &mut Events) -> Option<Event> {
        match events.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => panic!("there is no event"),
        }
    }

    #[test]
    fn every_reader_gets_each_event_without_secrets() {
        let (first, mut one) = Events::new(8);
        let (second, mut two) = Events::new(8);
        let sinks = EventSinks::new(vec![first, second], Secrets::default());
        sinks.add_secret("hunter2");
        sinks.write(|| error("hunter2 is wrong"));
        for events in [&mut one, &mut two] {
            let event = next(events).expect("an event");
            assert!(matches!(&event, Event::Error(error) if error.reason == "*** is wrong"), "{event:?}");
        }
        drop(sinks);
        assert!(next(&mut one).is_none());
    }

    #[test]
    fn no_event_is_made_without_a_reader() {
        let (sink, events) = Events::new(8);
        drop(events);
        let sinks = EventSinks::new(vec![sink], Secrets::default());
        assert!(sinks.is_empty());
        sinks.write(|| panic!("there is no reader"));
    }
}
