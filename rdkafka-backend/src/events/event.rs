//! What librdkafka has to say beside delivery reports, for the application to read.

mod handling;
mod ring;
pub(crate) mod trouble;
pub(crate) mod voice;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdkafka::statistics::Statistics;
use rdkafka_sys::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__BAD_MSG};

pub use self::handling::EventHandler;
pub(crate) use self::handling::handle;
use self::ring::Ring;
pub(crate) use self::ring::{EventSink, RawEvent};
use crate::config::IdempotenceOff;
use crate::config::secrets::Secrets;

/// Events that wait for a reader, unless it is said otherwise.
pub(crate) const CAPACITY: usize = 1024;

/// Something that librdkafka tells beside delivery reports (`rd_kafka_event_t`).
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Event {
    /// The client met an error. librdkafka goes on by itself after all that are not fatal.
    Error(ClientError),
    /// Statistics, every `statistics.interval.ms`; librdkafka's default is never.
    Statistics(Box<Statistics>),
    /// A broker slows the producer down, or does so no more.
    Throttle(Throttle),
    /// A line of librdkafka's log.
    Log(LogLine),
    /// Code of the application's panicked on a thread of the producer's, which goes on; nobody's outcome is lost.
    Panicked {
        /// What it was, in words: a waker, the owner of a payload, the partitioner, …
        code: &'static str,
        /// How often that has happened to the producer, with this.
        total: u64,
    },
    /// What the application has set turns idempotence off, so retries may double and reorder records. It is told when the
    /// producer starts, and the crate `log` gets it as a warning.
    IdempotenceOff(IdempotenceOff),
    /// The reader was slow, and events before the next one were dropped.
    Lost {
        /// How many.
        count: u64,
    },
}

/// An error of the client as a whole (`RD_KAFKA_EVENT_ERROR`). Records that fail because of it are reported as well.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// librdkafka's number, an [`ErrorCode`](crate::ErrorCode). Of a fatal error it is that of its cause.
    pub code: i32,
    /// What happened, without the values of secret keys.
    pub reason: String,
    /// Whether the producer cannot go on: it refuses records, now or in a moment.
    pub fatal: bool,
}

impl ClientError {
    /// [`ClientError::code`](field@Self::code) with its name.
    #[must_use]
    pub fn code(&self) -> crate::ErrorCode {
        crate::ErrorCode::new(self.code)
    }

    /// Whether no broker can be reached any more. librdkafka keeps trying.
    #[must_use]
    pub fn is_all_brokers_down(&self) -> bool {
        self.code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.fatal { "fatal error" } else { "error" };
        write!(f, "{kind} {}: {}", self.code, self.reason)
    }
}

impl std::error::Error for ClientError {}

/// A broker's answer to a quota that the producer exceeds (KIP-219).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The broker, as `host:port`.
    pub broker: String,
    /// Its number.
    pub broker_id: i32,
    /// For how long the broker holds the producer back; zero when that is over.
    pub time: Duration,
}

/// A line of librdkafka's log.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How urgent it is.
    pub level: LogLevel,
    /// What it is about, in one word of librdkafka's.
    pub facility: String,
    /// The line, without the values of secret keys.
    pub message: String,
}

/// How urgent a log line is, by syslog's levels: the more urgent, the less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// 0: unusable.
    Emergency,
    /// 1: somebody should act at once.
    Alert,
    /// 2
    Critical,
    /// 3
    Error,
    /// 4
    Warning,
    /// 5: normal, and worth a notice.
    Notice,
    /// 6: librdkafka's `log_level` unless it is set.
    Info,
    /// 7: what the key `debug` asks for.
    Debug,
}

impl LogLevel {
    pub(crate) fn new(level: i32) -> Self {
        match level {
            ..=0 => Self::Emergency,
            1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            7.. => Self::Debug,
        }
    }
}

/// A producer's events, to be read by one task: a [`Stream`], from
/// [`Librdkafka::events`](crate::Librdkafka::events).
///
/// It holds a bounded number of events, and no more than 8 MiB of them. When it is full, the oldest log line or statistics
/// make room, then the oldest error that is not fatal; [`Event::Lost`] tells how many did. The stream ends when the
/// producer has.
///
/// ```
/// use aioproducer_rdkafka::{Event, Events};
///
/// async fn watch(mut events: Events) {
///     while let Some(event) = events.next().await {
///         match event {
///             Event::Error(error) => eprintln!("{error}"),
///             Event::Statistics(statistics) => println!("{} records sent", statistics.txmsgs),
///             other => println!("{other:?}"),
///         }
///     }
/// }
/// ```
#[must_use = "events are kept for as long as the stream is"]
pub struct Events {
    ring: Arc<Ring>,
    /// Events that were there at once, since the reader last let others have their turn.
    in_a_row: u32,
}

/// Events that a reader gets one after the other before others on its thread have their turn. To read statistics takes a
/// while.
const TURN: u32 = 32;

impl Events {
    pub(crate) fn new(capacity: usize) -> (EventSink, Self) {
        let (sink, ring) = Ring::new(capacity);
        (sink, Self { ring, in_a_row: 0 })
    }

    /// The next event, or `None` when the producer has ended. Dropped early, it takes nothing with it.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        if self.in_a_row == TURN {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.ring.poll(cx);
        self.in_a_row = if polled.is_ready() { self.in_a_row + 1 } else { 0 };
        polled.map(|told| {
            told.map(|told| match told {
                RawEvent::Event(event) => event,
                RawEvent::Statistics(json) => read(&json),
            })
        })
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.ring.leave();
    }
}

/// librdkafka's statistics. What cannot be read is told, too.
fn read(json: &str) -> Event {
    match serde_json::from_str(json) {
        Ok(statistics) => Event::Statistics(Box::new(statistics)),
        Err(error) => Event::Error(ClientError {
            code: RD_KAFKA_RESP_ERR__BAD_MSG as i32,
            reason: format!("librdkafka's statistics cannot be read: {error}"),
            fatal: false,
        }),
    }
}

/// All who listen to one client.
pub(crate) struct EventSinks {
    sinks: Vec<EventSink>,
    secrets: Mutex<Secrets>,
    panics: AtomicU64,
    /// Lines that matter less are for librdkafka's troubles only.
    log_level: LogLevel,
}

impl EventSinks {
    pub(crate) fn new(mut sinks: Vec<EventSink>, secrets: Secrets) -> Self {
        sinks.retain(EventSink::has_reader);
        Self { sinks, secrets: Mutex::new(secrets), panics: AtomicU64::new(0), log_level: LogLevel::Debug }
    }

    /// The same, told of lines of the log up to `level`.
    pub(crate) fn with_log_level(mut self, level: i32) -> Self {
        self.log_level = LogLevel::new(level);
        self
    }

    /// Whether somebody listens now.
    pub(crate) fn has_reader(&self) -> bool {
        self.sinks.iter().any(EventSink::has_reader)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Tells everybody, and does not even ask what if there is nobody.
    pub(crate) fn tell(&self, what: impl FnOnce() -> RawEvent) {
        if let Some((last, others)) = self.sinks.split_last() {
            let told = self.redact(what());
            if matches!(&told, RawEvent::Event(Event::Log(line)) if line.level > self.log_level) {
                return;
            }
            others.iter().for_each(|sink| sink.push(told.clone()));
            last.push(told);
        }
    }

    /// Tells that `code` of the application's panicked and was contained.
    pub(crate) fn contained(&self, code: &'static str) {
        let total = 1 + self.panics.fetch_add(1, Ordering::Relaxed);
        self.tell(|| RawEvent::Event(Event::Panicked { code, total }));
    }

    /// Tells nothing more, so that readers hear of the end.
    pub(crate) fn close(&self) {
        self.sinks.iter().for_each(EventSink::close);
    }

    fn redact(&self, mut told: RawEvent) -> RawEvent {
        let text = match &mut told {
            RawEvent::Event(Event::Error(error)) => &mut error.reason,
            RawEvent::Event(Event::Log(line)) => &mut line.message,
            _ => return told,
        };
        *text = self.hide(std::mem::take(text));
        told
    }

    /// `text` without what must not be shown.
    pub(crate) fn hide(&self, text: String) -> String {
        self.secrets().hide(text)
    }

    /// What follows is told without `secret`.
    pub(crate) fn keep_secret(&self, secret: &str) {
        self.secrets().add(secret);
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn error(reason: &str) -> RawEvent {
        RawEvent::Event(Event::Error(ClientError { code: -195, reason: reason.to_owned(), fatal: false }))
    }

    fn next(events: &mut Events) -> Option<Event> {
        match events.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => panic!("nothing was told"),
        }
    }

    #[test]
    fn statistics_are_typed_and_unreadable_ones_are_an_error() {
        let sent = Statistics { client_type: "producer".into(), txmsgs: 7, ..Statistics::default() };
        let json = serde_json::to_string(&sent).expect("JSON");
        let Event::Statistics(statistics) = read(&json) else { panic!("{json}") };
        assert_eq!((statistics.client_type.as_str(), statistics.txmsgs), ("producer", 7));
        for broken in ["", "[]", r#"{"name": "x"}"#] {
            let Event::Error(error) = read(broken) else { panic!("{broken}") };
            assert!(error.reason.contains("statistics") && !error.fatal, "{error}");
            assert_eq!(error.code, RD_KAFKA_RESP_ERR__BAD_MSG as i32);
        }
    }

    #[test]
    fn everybody_is_told_and_no_secret() {
        let (first, mut one) = Events::new(8);
        let (second, mut two) = Events::new(8);
        let sinks = EventSinks::new(vec![first, second], Secrets::default());
        sinks.keep_secret("hunter2");
        sinks.tell(|| error("hunter2 is wrong"));
        for events in [&mut one, &mut two] {
            let told = next(events).expect("an event");
            assert!(matches!(&told, Event::Error(error) if error.reason == "*** is wrong"), "{told:?}");
        }
        drop(sinks);
        assert!(next(&mut one).is_none());
    }

    #[test]
    fn nothing_is_read_when_nobody_listens() {
        let (sink, events) = Events::new(8);
        drop(events);
        let sinks = EventSinks::new(vec![sink], Secrets::default());
        assert!(sinks.is_empty());
        sinks.tell(|| panic!("nobody asked"));
    }

    #[test]
    fn levels_are_syslogs() {
        let levels: Vec<_> = (-1..=8).map(LogLevel::new).collect();
        assert!(levels.is_sorted(), "{levels:?}");
        assert_eq!((levels[1], levels[8]), (LogLevel::Emergency, LogLevel::Debug));
    }
}
