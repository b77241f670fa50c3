//! Events as a stream.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aioproducer_core::backend::ErrorCode;
use futures_core::Stream;

use crate::events::event::{ClientError, Event};
use crate::events::ring::{EventSink, RawEvent, Ring};

/// The default number of events that a stream holds.
pub(crate) const CAPACITY: usize = 1024;

/// A producer's events, for one task to read: a [`Stream`], from [`Librdkafka::events`](crate::Librdkafka::events).
///
/// It holds a bounded number of events and at most 8 MiB. When it is full, the oldest log line or statistics are dropped, then
/// the oldest error that is not fatal; [`Event::Lost`] carries the number of dropped events. The stream ends after the
/// producer.
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
/// # let _ = watch;
/// ```
#[must_use = "a stream keeps the events until they are read"]
pub struct Events {
    ring: Arc<Ring>,
    /// Events that were ready at once since the task last yielded.
    in_a_row: u32,
}

/// Events that a task gets in a row before it yields. Parsing statistics takes a while.
const BUDGET: u32 = 32;

impl Events {
    pub(crate) fn new(capacity: usize) -> (EventSink, Self) {
        let (sink, ring) = Ring::new(capacity);
        (sink, Self { ring, in_a_row: 0 })
    }

    /// The next event, or `None` after the end of the producer. Dropping the future loses no event.
    ///
    /// ```
    /// # use aioproducer_rdkafka::Events;
    /// # async fn first(mut events: Events) {
    /// if let Some(event) = events.next().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll(cx)).await
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        if self.in_a_row == BUDGET {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.ring.poll(cx);
        self.in_a_row = if polled.is_ready() { self.in_a_row + 1 } else { 0 };
        polled.map(|raw| {
            raw.map(|raw| match raw {
                RawEvent::Event(event) => event,
                RawEvent::Statistics(json) => parse(&json),
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
        self.ring.remove_reader();
    }
}

/// librdkafka's statistics. Text that cannot be parsed becomes an error event.
fn parse(json: &str) -> Event {
    match serde_json::from_str(json) {
        Ok(statistics) => Event::Statistics(Box::new(statistics)),
        Err(error) => Event::Error(ClientError {
            code: ErrorCode::LocalBadMsg,
            reason: format!("cannot parse librdkafka's statistics: {error}"),
            fatal: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Statistics;

    use super::*;

    #[test]
    fn statistics_are_typed_and_unreadable_ones_are_an_error() {
        let sent = Statistics { client_type: "producer".into(), txmsgs: 7, ..Statistics::default() };
        let json = serde_json::to_string(&sent).expect("JSON");
        let Event::Statistics(statistics) = parse(&json) else { panic!("{json}") };
        assert_eq!((statistics.client_type.as_str(), statistics.txmsgs), ("producer", 7));
        for broken in ["", "[]", r#"{"name": "x"}"#] {
            let Event::Error(error) = parse(broken) else { panic!("{broken}") };
            assert!(error.reason.contains("statistics") && !error.fatal, "{error}");
            assert_eq!(error.code(), ErrorCode::LocalBadMsg);
        }
    }
}
