//! Events by calls instead of by a stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use rdkafka::statistics::Statistics;

use super::{ClientError, Event, Events, LogLine, Throttle};
use crate::IdempotenceOff;
use crate::catch_panic::catch_panic;

/// Events that a handler gets in a row before other tasks have their turn.
const BUDGET: usize = 16;

/// Is called with a producer's events, one after the other, by a task on the application's runtime. Given to
/// [`Librdkafka::on_event`](crate::Librdkafka::on_event); all methods do nothing unless they are written.
///
/// A method that waits holds up a thread of the runtime. For anything longer, read
/// [`Events`] in a task of one's own. A panic is contained: it is
/// counted, told to [`EventHandler::on_panic`], and the next event follows.
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, ClientError, EventHandler, Librdkafka};
///
/// struct Alarm;
///
/// impl EventHandler for Alarm {
///     fn on_error(&self, error: &ClientError) {
///         eprintln!("kafka: {error}");
///     }
/// }
///
/// let backend = Librdkafka::new(ClientConfig::new()).on_event(Alarm);
/// # let _ = backend;
/// ```
pub trait EventHandler: Send + Sync + 'static {
    /// The client met an error.
    fn on_error(&self, error: &ClientError) {
        let _ = error;
    }

    /// Statistics, every `statistics.interval.ms`; librdkafka's default is never.
    fn on_statistics(&self, statistics: &Statistics) {
        let _ = statistics;
    }

    /// A broker slows the producer down, or does so no more.
    fn on_throttle(&self, throttle: &Throttle) {
        let _ = throttle;
    }

    /// A line of librdkafka's log.
    fn on_log(&self, line: &LogLine) {
        let _ = line;
    }

    /// Code of the application's panicked on a thread of the producer's, which goes on; see [`Event::Panicked`].
    fn on_contained(&self, code: &'static str, total: u64) {
        let _ = (code, total);
    }

    /// What the application has set turns idempotence off. It is told when the producer starts.
    fn on_idempotence_off(&self, off: &IdempotenceOff) {
        let _ = off;
    }

    /// The handler was slow, and `count` events before the next one were dropped.
    fn on_lost(&self, count: u64) {
        let _ = count;
    }

    /// One of these methods panicked; `total` is how often that happened to this producer's handler.
    fn on_panic(&self, total: u64) {
        let _ = total;
    }
}

/// Calls `handler` until the events end.
pub(crate) async fn handle(mut events: Events, handler: Arc<dyn EventHandler>) {
    let mut panics = 0;
    poll_fn(|cx| some(&mut events, &*handler, &mut panics, cx)).await;
}

/// Handles the events that there are, a bounded number of them.
fn some(events: &mut Events, handler: &dyn EventHandler, panics: &mut u64, cx: &Context<'_>) -> Poll<()> {
    for _ in 0..BUDGET {
        match events.poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(()),
            Poll::Ready(Some(event)) => {
                if catch_panic(|| call(handler, &event)).is_none() {
                    *panics += 1;
                    // What this does wrong is beyond help.
                    catch_panic(|| handler.on_panic(*panics));
                }
            }
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn call(handler: &dyn EventHandler, event: &Event) {
    match event {
        Event::Error(error) => handler.on_error(error),
        Event::Statistics(statistics) => handler.on_statistics(statistics),
        Event::Throttle(throttle) => handler.on_throttle(throttle),
        Event::Log(line) => handler.on_log(line),
        Event::Panicked { code, total } => handler.on_contained(code, *total),
        Event::IdempotenceOff(off) => handler.on_idempotence_off(off),
        Event::Lost { count } => handler.on_lost(*count),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::config::secrets::Secrets;
    use crate::events::{EventSinks, LogLevel, RawEvent};

    #[derive(Default)]
    struct Diary(Mutex<Vec<String>>);

    impl Diary {
        fn note(&self, entry: String) {
            self.0.lock().unwrap().push(entry);
        }
    }

    impl EventHandler for Diary {
        fn on_error(&self, error: &ClientError) {
            self.note(error.reason.clone());
        }

        fn on_throttle(&self, throttle: &Throttle) {
            self.note(format!("{} {:?}", throttle.broker_id, throttle.time));
        }

        fn on_log(&self, line: &LogLine) {
            assert_ne!(line.message, "panic", "as was asked for");
            self.note(line.message.clone());
        }

        fn on_lost(&self, count: u64) {
            self.note(format!("lost {count}"));
        }

        fn on_panic(&self, total: u64) {
            self.note(format!("panic {total}"));
            panic!("this is no help either");
        }
    }

    fn log(message: &str) -> RawEvent {
        RawEvent::Event(Event::Log(LogLine {
            level: LogLevel::Info,
            facility: "TEST".into(),
            message: message.to_owned(),
        }))
    }

    #[test]
    fn each_kind_has_its_method_and_panics_are_contained_and_counted() {
        let (sink, events) = Events::new(8);
        let sinks = EventSinks::new(vec![sink], Secrets::default());
        let diary = Arc::new(Diary::default());
        let mut task = Box::pin(handle(events, Arc::clone(&diary) as Arc<dyn EventHandler>));
        let mut poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        sinks.tell(|| RawEvent::Event(Event::Error(ClientError { code: -1, reason: "no".into(), fatal: false })));
        sinks.tell(|| log("panic"));
        sinks.tell(|| log("a line"));
        sinks.tell(|| log("panic"));
        let time = Duration::from_millis(3);
        sinks.tell(|| RawEvent::Event(Event::Throttle(Throttle { broker: "b:1".into(), broker_id: 4, time })));
        sinks.tell(|| RawEvent::Event(Event::Lost { count: 2 }));
        assert!(poll().is_pending());
        assert_eq!(*diary.0.lock().unwrap(), ["no", "panic 1", "a line", "panic 2", "4 3ms", "lost 2"]);
        drop(sinks);
        assert!(poll().is_ready());
    }

    #[test]
    fn a_flood_of_events_leaves_others_their_turn() {
        let (sink, events) = Events::new(100);
        let sinks = EventSinks::new(vec![sink], Secrets::default());
        let diary = Arc::new(Diary::default());
        let mut task = Box::pin(handle(events, Arc::clone(&diary) as Arc<dyn EventHandler>));
        (0..BUDGET + 1).for_each(|_| sinks.tell(|| log("a line")));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(diary.0.lock().unwrap().len(), BUDGET);
    }
}
