//! Events as calls of a handler.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use rdkafka::statistics::Statistics;

use crate::catch_panic::catch_panic;
use crate::config::IdempotenceOff;
use crate::events::availability::Availability;
use crate::events::event::{ClientError, Event, LogLine, Throttle};
use crate::events::renewed::Renewed;
use crate::events::stream::Events;

/// Events that a handler gets in a row before its task yields.
const BUDGET: usize = 16;

/// Handles a producer's events one after another, in a task on the application's runtime. Pass it to
/// [`Librdkafka::on_event`](crate::Librdkafka::on_event). By default each method does nothing.
///
/// A method must not block, because it runs on a thread of the runtime. To await something, read [`Events`] in a task of your
/// own. A panic of a method is caught and counted, [`EventHandler::on_handler_panicked`] is called, and the next event follows.
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

    /// Statistics, every `statistics.interval.ms`; by default never.
    fn on_statistics(&self, statistics: &Statistics) {
        let _ = statistics;
    }

    /// A broker throttles the producer, or stops doing so.
    fn on_throttle(&self, throttle: &Throttle) {
        let _ = throttle;
    }

    /// A partition is passed over because its leader does not answer, or is answered again.
    fn on_availability(&self, availability: &Availability) {
        let _ = availability;
    }

    /// A line of librdkafka's log.
    fn on_log(&self, line: &LogLine) {
        let _ = line;
    }

    /// The client was replaced by a new one; see [`Event::Renewed`].
    fn on_renewed(&self, renewed: &Renewed) {
        let _ = renewed;
    }

    /// Code of the application panicked, and the panic was caught; see [`Event::Panicked`].
    fn on_panicked(&self, code: &'static str, total: u64) {
        let _ = (code, total);
    }

    /// A setting of the application turns idempotence off. It is called when the producer starts.
    fn on_idempotence_off(&self, off: &IdempotenceOff) {
        let _ = off;
    }

    /// The handler was slow, and `count` events before the next one were dropped.
    fn on_lost(&self, count: u64) {
        let _ = count;
    }

    /// A method of this handler panicked; `total` is the number of such panics, this one included.
    fn on_handler_panicked(&self, total: u64) {
        let _ = total;
    }
}

/// Calls `handler` with each event until the stream ends.
pub(crate) async fn handle(mut events: Events, handler: Arc<dyn EventHandler>) {
    let mut panics = 0;
    poll_fn(|cx| handle_ready(&mut events, &*handler, &mut panics, cx)).await;
}

/// Handles the events that are ready, up to [`BUDGET`].
fn handle_ready(events: &mut Events, handler: &dyn EventHandler, panics: &mut u64, cx: &Context<'_>) -> Poll<()> {
    for _ in 0..BUDGET {
        match events.poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(()),
            Poll::Ready(Some(event)) => {
                if catch_panic(|| call(handler, &event)).is_none() {
                    *panics += 1;
                    // A panic here is only caught.
                    catch_panic(|| handler.on_handler_panicked(*panics));
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
        Event::Availability(availability) => handler.on_availability(availability),
        Event::Log(line) => handler.on_log(line),
        Event::Renewed(renewed) => handler.on_renewed(renewed),
        Event::Panicked { code, total } => handler.on_panicked(code, *total),
        Event::IdempotenceOff(off) => handler.on_idempotence_off(off),
        Event::Lost { count } => handler.on_lost(*count),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::Waker;
    use std::time::Duration;

    use aioproducer_core::backend::ErrorCode;

    use super::*;
    use crate::config::secrets::Secrets;
    use crate::events::event::LogLevel;
    use crate::events::ring::RawEvent;
    use crate::events::sinks::EventSinks;

    #[derive(Default)]
    struct Journal(Mutex<Vec<String>>);

    impl Journal {
        fn note(&self, entry: String) {
            self.0.lock().unwrap().push(entry);
        }
    }

    impl EventHandler for Journal {
        fn on_error(&self, error: &ClientError) {
            self.note(error.reason.clone());
        }

        fn on_throttle(&self, throttle: &Throttle) {
            self.note(format!("{} {:?}", throttle.broker_id, throttle.time));
        }

        fn on_log(&self, line: &LogLine) {
            assert_ne!(line.message, "panic", "on purpose");
            self.note(line.message.clone());
        }

        fn on_lost(&self, count: u64) {
            self.note(format!("lost {count}"));
        }

        fn on_handler_panicked(&self, total: u64) {
            self.note(format!("panic {total}"));
            panic!("on purpose");
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
    fn each_event_has_its_method_and_panics_are_caught_and_counted() {
        let (sink, events) = Events::new(8);
        let sinks = EventSinks::new(vec![sink], Secrets::default());
        let journal = Arc::new(Journal::default());
        let mut task = Box::pin(handle(events, Arc::clone(&journal) as Arc<dyn EventHandler>));
        let mut poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        sinks.write(|| {
            RawEvent::Event(Event::Error(ClientError { code: ErrorCode::Unknown, reason: "no".into(), fatal: false }))
        });
        sinks.write(|| log("panic"));
        sinks.write(|| log("a line"));
        sinks.write(|| log("panic"));
        let time = Duration::from_millis(3);
        sinks.write(|| RawEvent::Event(Event::Throttle(Throttle { broker: "b:1".into(), broker_id: 4, time })));
        sinks.write(|| RawEvent::Event(Event::Lost { count: 2 }));
        assert!(poll().is_pending());
        assert_eq!(*journal.0.lock().unwrap(), ["no", "panic 1", "a line", "panic 2", "4 3ms", "lost 2"]);
        drop(sinks);
        assert!(poll().is_ready());
    }

    #[test]
    fn a_handler_yields_between_many_events() {
        let (sink, events) = Events::new(100);
        let sinks = EventSinks::new(vec![sink], Secrets::default());
        let journal = Arc::new(Journal::default());
        let mut task = Box::pin(handle(events, Arc::clone(&journal) as Arc<dyn EventHandler>));
        (0..BUDGET + 1).for_each(|_| sinks.write(|| log("a line")));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(journal.0.lock().unwrap().len(), BUDGET);
    }
}
