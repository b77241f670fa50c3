//! The buffer between the writers of events and one reader, bounded by count and by bytes.
//!
//! Writers never wait. When the ring is full, it drops the oldest of the least important events.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::catch_panic::catch_panic;
use crate::events::event::Event;

/// The most bytes in a ring. The statistics of a large cluster are a megabyte of text, so a count is not enough.
const BYTES: usize = 8 << 20;

/// An event before it is read. What takes time is left to the reader.
#[derive(Clone, Debug)]
pub(crate) enum RawEvent {
    Event(Event),
    /// librdkafka's statistics as JSON.
    Statistics(String),
}

/// The ranks of events, the least important first: log lines and statistics; errors, panics, throttling and availability; fatal errors.
const RANKS: usize = 3;

impl RawEvent {
    fn rank(&self) -> usize {
        match self {
            Self::Statistics(_) | Self::Event(Event::Log(_) | Event::Statistics(_) | Event::Lost { .. }) => 0,
            Self::Event(Event::Error(error)) if error.fatal => 2,
            Self::Event(
                Event::Error(_)
                | Event::Throttle(_)
                | Event::Availability(_)
                | Event::Panicked { .. }
                | Event::IdempotenceOff(_)
                | Event::Renewed(_),
            ) => 1,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Statistics(json) => json.len(),
                Self::Event(Event::Log(line)) => line.facility.len() + line.message.len(),
                Self::Event(Event::Error(error)) => error.reason.len(),
                Self::Event(Event::Throttle(throttle)) => throttle.broker.len(),
                Self::Event(Event::Availability(availability)) => availability.topic.len(),
                Self::Event(Event::IdempotenceOff(off)) => off.key.len() + off.value.len(),
                Self::Event(Event::Statistics(_) | Event::Lost { .. } | Event::Panicked { .. } | Event::Renewed(_)) => {
                    0
                }
            }
    }
}

/// The ring between writers and one reader.
pub(super) struct Ring(Mutex<State>);

struct State {
    /// Events by rank, each with its number in the order of arrival.
    waiting: [VecDeque<(u64, RawEvent)>; RANKS],
    arrived: u64,
    bytes: usize,
    lost: u64,
    capacity: usize,
    writers: usize,
    has_reader: bool,
    waker: Option<Waker>,
}

impl Ring {
    /// A ring with a reader and one writer. It holds at least one event.
    pub(super) fn new(capacity: usize) -> (EventSink, Arc<Self>) {
        let ring = Arc::new(Self(Mutex::new(State {
            waiting: [const { VecDeque::new() }; RANKS],
            arrived: 0,
            bytes: 0,
            lost: 0,
            capacity: capacity.max(1),
            writers: 1,
            has_reader: true,
            waker: None,
        })));
        (EventSink::new(Arc::clone(&ring)), ring)
    }

    /// The oldest event, preceded by the number of lost events; `None` when there are no more writers.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<RawEvent>> {
        let found = self.lock().next();
        if found.is_ready() {
            return found;
        }
        // Code of a waker runs without the lock.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let found = state.next();
        let unused = if found.is_ready() { Some(waker) } else { state.waker.replace(waker) };
        drop(state);
        drop(unused);
        found
    }

    /// Events are no longer kept.
    pub(super) fn remove_reader(&self) {
        let mut state = self.lock();
        state.has_reader = false;
        state.waiting = Default::default();
        let waker = state.waker.take();
        drop(state);
        drop(waker);
    }

    fn push(&self, event: RawEvent) {
        let mut state = self.lock();
        if !state.has_reader {
            return;
        }
        state.push(event);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    fn push(&mut self, event: RawEvent) {
        let (rank, bytes) = (event.rank(), event.bytes());
        while self.len() >= self.capacity || (self.bytes > 0 && self.bytes + bytes > BYTES) {
            self.lost += 1;
            let Some((_, dropped)) = self.waiting[..=rank].iter_mut().find_map(VecDeque::pop_front) else {
                // All events in the ring are more important.
                return;
            };
            self.bytes -= dropped.bytes();
        }
        self.waiting[rank].push_back((self.arrived, event));
        self.arrived += 1;
        self.bytes += bytes;
    }

    fn next(&mut self) -> Poll<Option<RawEvent>> {
        if self.lost > 0 {
            return Poll::Ready(Some(RawEvent::Event(Event::Lost { count: std::mem::take(&mut self.lost) })));
        }
        let oldest = self.waiting.iter_mut().filter(|queue| !queue.is_empty()).min_by_key(|queue| queue[0].0);
        match oldest.and_then(VecDeque::pop_front) {
            Some((_, event)) => {
                self.bytes -= event.bytes();
                Poll::Ready(Some(event))
            }
            None if self.writers == 0 => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// Wakes the reader. Its waker is code of the application; the calling thread continues if it panics.
fn wake(reader: Option<Waker>) {
    if let Some(waker) = reader {
        catch_panic(|| waker.wake());
    }
}

/// A writer of a ring. When all are gone, the reader gets the remaining events and then the end.
pub(crate) struct EventSink {
    ring: Arc<Ring>,
    is_closed: AtomicBool,
}

impl EventSink {
    fn new(ring: Arc<Ring>) -> Self {
        Self { ring, is_closed: AtomicBool::new(false) }
    }

    pub(super) fn push(&self, event: RawEvent) {
        if !self.is_closed.load(Ordering::Relaxed) {
            self.ring.push(event);
        }
    }

    /// Whether there is a reader.
    pub(crate) fn has_reader(&self) -> bool {
        self.ring.lock().has_reader
    }

    /// Writes no more events.
    pub(super) fn close(&self) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut state = self.ring.lock();
        state.writers -= 1;
        let waker = if state.writers == 0 { state.waker.take() } else { None };
        drop(state);
        wake(waker);
    }
}

/// The clone is open.
impl Clone for EventSink {
    fn clone(&self) -> Self {
        self.ring.lock().writers += 1;
        Self::new(Arc::clone(&self.ring))
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use aioproducer_core::backend::ErrorCode;

    use super::*;
    use crate::events::event::{ClientError, LogLevel, LogLine};

    fn log(message: &str) -> RawEvent {
        RawEvent::Event(Event::Log(LogLine {
            level: LogLevel::Info,
            facility: "TEST".into(),
            message: message.to_owned(),
        }))
    }

    fn error(reason: &str, fatal: bool) -> RawEvent {
        RawEvent::Event(Event::Error(ClientError { code: ErrorCode::Unknown, reason: reason.to_owned(), fatal }))
    }

    fn poll(ring: &Ring) -> Poll<Option<RawEvent>> {
        ring.poll(&Context::from_waker(Waker::noop()))
    }

    /// The texts of the events in the ring.
    fn texts(ring: &Ring) -> Vec<String> {
        let mut texts = Vec::new();
        while let Poll::Ready(Some(event)) = poll(ring) {
            texts.push(match event {
                RawEvent::Event(Event::Log(line)) => line.message,
                RawEvent::Event(Event::Error(error)) => error.reason,
                RawEvent::Event(Event::Lost { count }) => format!("lost {count}"),
                RawEvent::Statistics(json) => format!("{} bytes", json.len()),
                other => panic!("{other:?}"),
            });
        }
        texts
    }

    #[test]
    fn a_full_ring_drops_the_oldest_of_the_least_important_events_and_counts_them() {
        let (sink, ring) = Ring::new(3);
        for event in [error("e0", false), log("l0"), log("l1"), log("l2"), error("f", true), error("e1", false)] {
            sink.push(event);
        }
        assert_eq!(texts(&ring), ["lost 3", "e0", "f", "e1"], "in the order of arrival");
        for event in [error("f", true), error("e2", false), error("e3", false), error("e4", false), log("l3")] {
            sink.push(event);
        }
        assert_eq!(texts(&ring), ["lost 2", "f", "e3", "e4"]);
        sink.push(log("l4"));
        assert_eq!(texts(&ring), ["l4"], "the loss was reported before");
    }

    #[test]
    fn a_ring_is_bounded_by_bytes_and_holds_at_least_one_event() {
        let (sink, ring) = Ring::new(0);
        sink.push(RawEvent::Statistics(" ".repeat(2 * BYTES)));
        assert_eq!(texts(&ring), [format!("{} bytes", 2 * BYTES)]);
        let (sink, ring) = Ring::new(1000);
        for _ in 0..5 {
            sink.push(RawEvent::Statistics(" ".repeat(BYTES / 3)));
        }
        assert_eq!(texts(&ring)[0], "lost 3");
        assert_eq!(ring.lock().bytes, 0);
    }

    #[test]
    fn the_last_writer_ends_the_ring_and_wakes_the_reader() {
        struct Wakes(AtomicUsize);
        impl Wake for Wakes {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let (sink, ring) = Ring::new(3);
        assert!(ring.poll(&Context::from_waker(&waker)).is_pending());
        sink.push(log("l0"));
        sink.push(log("l1"));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "once for both");
        assert_eq!(texts(&ring), ["l0", "l1"]);
        let second = sink.clone();
        drop(sink);
        assert!(ring.poll(&Context::from_waker(&waker)).is_pending());
        drop(second);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
        assert!(matches!(poll(&ring), Poll::Ready(None)));
    }

    #[test]
    fn no_event_is_kept_without_a_reader() {
        let (sink, ring) = Ring::new(3);
        assert!(sink.has_reader());
        ring.remove_reader();
        sink.push(log("l0"));
        assert!(!sink.has_reader());
        assert_eq!(ring.lock().len(), 0);
    }
}
