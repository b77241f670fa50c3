//! Spans and events of a producer, as a subscriber sees them.

mod observed;
#[path = "observed/recorder.rs"]
mod recorder;
mod still;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aioproducer_core::backend::{ErrorCode, Failure, FailureKind, Status};
use aioproducer_driver::error::FlushError;
use aioproducer_driver::record::TraceContext;
use aioproducer_driver::{AioProducer, Builder, Overflow, Record};
use observed::{ByHand, Tasks};
use recorder::Recorder;
use tracing::span::Id;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{self, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const REFUSED: Failure =
    Failure::new(FailureKind::Broker, Status::PossiblyPersisted, Some(ErrorCode::RequestTimedOut), "refused");

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Scene {
    recorder: Recorder,
    backend: ByHand,
    tasks: Tasks,
    producer: AioProducer,
}

/// Runs `run` on a producer whose subscriber asks it for its length at each call: under a lock it would never come back.
fn with(settings: fn(Builder<ByHand>) -> Builder<ByHand>, run: impl FnOnce(&Scene) + Send + 'static) {
    let (done, end) = mpsc::channel();
    let acting = std::thread::spawn(move || {
        let recorder = Recorder::default();
        let subscriber = tracing_subscriber::registry().with(recorder.clone());
        tracing::subscriber::with_default(subscriber, || {
            let (backend, tasks) = (ByHand::default(), Tasks::default());
            let producer = settings(AioProducer::builder(backend.clone())).start(tasks.clone()).unwrap();
            recorder.0.lock().unwrap().producer = Some(producer.clone());
            run(&Scene { recorder: recorder.clone(), backend, tasks, producer });
            let producer = recorder.0.lock().unwrap().producer.take().unwrap();
            assert_eq!(producer.statistics().panics_caught, 0, "the recorder says above what it does not like");
            drop(producer);
        });
        done.send(()).unwrap();
    });
    match end.recv_timeout(Duration::from_secs(30)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the subscriber was called under a lock"),
        _ => acting.join().unwrap(),
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_record_has_a_span_from_acceptance_to_its_outcome() {
    with(
        |builder| builder,
        |scene| {
            let record = Record::to("orders").key("secret").payload("secret").header("name", "secret");
            drop(scene.producer.try_produce(record).unwrap());
            let [span] = scene.recorder.spans().try_into().unwrap();
            assert_eq!((span.name, span.closed), ("send", false));
            for (name, value) in [
                ("otel.name", "send orders"),
                ("otel.kind", "producer"),
                ("messaging.system", "kafka"),
                ("messaging.operation.name", "send"),
                ("messaging.operation.type", "send"),
                ("messaging.destination.name", "orders"),
                ("messaging.message.body.size", "6"),
            ] {
                assert_eq!(span.fields.get(name).map(String::as_str), Some(value), "{name}");
            }
            for later in ["messaging.destination.partition.id", "messaging.kafka.offset", "error.type"] {
                assert!(!span.fields.contains_key(later), "{later}");
            }
            scene.backend.hand_off(None);
            let [span] = scene.recorder.spans().try_into().unwrap();
            assert!(span.closed);
            assert_eq!(span.fields["messaging.destination.partition.id"], "3");
            assert_eq!(span.fields["messaging.kafka.offset"], "40");
            assert!(!span.fields.contains_key("error.type"));
            assert!(!span.fields.values().any(|value| value.contains("secret")), "{span:?}");
            assert!(scene.recorder.events().is_empty());
        },
    );
}

#[test]
fn a_success_with_a_span_is_not_reported_at_once() {
    with(
        |builder| builder,
        |scene| {
            drop(scene.producer.try_produce(Record::to("t").payload("x")).unwrap());
            assert!(!scene.backend.report_at_once(), "a subscriber would run on the library's thread");
            let [span] = scene.recorder.spans().try_into().unwrap();
            assert!(span.closed);
        },
    );
}

#[test]
fn keys_are_there_on_request_and_tombstones_are_marked() {
    with(
        |builder| builder.trace_keys(true),
        |scene| {
            drop(scene.producer.try_produce(Record::to("t").key("k").partition(2)).unwrap());
            drop(scene.producer.try_produce(Record::to("t").key(&[0xff]).payload("")).unwrap());
            let [null, empty] = scene.recorder.spans().try_into().unwrap();
            assert_eq!(null.fields["messaging.kafka.message.key"], "k");
            assert_eq!(null.fields["messaging.kafka.message.tombstone"], "true");
            assert_eq!(null.fields["messaging.destination.partition.id"], "2");
            assert!(!empty.fields.contains_key("messaging.kafka.message.key"), "it is no text");
            assert!(!empty.fields.contains_key("messaging.kafka.message.tombstone"));
            assert_eq!(
                (null.fields.get("messaging.message.body.size"), &*empty.fields["messaging.message.body.size"]),
                (None, "0")
            );
            for _ in 0..2 {
                scene.backend.hand_off(None);
            }
            assert!(scene.recorder.spans().iter().all(|span| span.fields.contains_key("messaging.kafka.offset")));
        },
    );
}

#[test]
fn a_failure_is_in_the_span_and_an_event() {
    with(
        |builder| builder,
        |scene| {
            drop(scene.producer.try_produce(Record::to("t").payload("secret")).unwrap());
            scene.backend.hand_off(Some(REFUSED));
            let [span] = scene.recorder.spans().try_into().unwrap();
            assert!(span.closed);
            assert_eq!(&*span.fields["error.type"], "REQUEST_TIMED_OUT");
            assert_eq!(span.fields["otel.status_code"], "ERROR");
            assert_eq!(span.fields["otel.status_description"], "refused; the record is possibly in the log");
            assert!(!span.fields.contains_key("messaging.kafka.offset"));
            let [event] = scene.recorder.events().try_into().unwrap();
            assert_eq!((event.level, event.span), (tracing::Level::WARN, Some(span.id)));
            assert_eq!(event.fields["messaging.destination.name"], "t");
            assert_eq!((&*event.fields["status"], &*event.fields["code"]), ("possibly_persisted", "7"));
            assert!(!format!("{event:?}").contains("secret"));
            // A fatal error fails what is left, and is emitted itself, once.
            drop(scene.producer.try_produce(Record::to("t")).unwrap());
            for _ in 0..2 {
                scene.backend.fatal(REFUSED.with_kind(FailureKind::Fatal));
            }
            let levels: Vec<_> = scene.recorder.events().iter().map(|event| event.level).collect();
            assert_eq!(levels, [tracing::Level::WARN, tracing::Level::ERROR, tracing::Level::WARN]);
            assert!(scene.recorder.spans().iter().all(|span| span.closed));
        },
    );
}

#[test]
fn a_dropped_record_and_one_taken_back_end_their_spans() {
    with(
        |builder| builder.slots(1).overflow(Overflow::DropNewest),
        |scene| {
            let first = scene.producer.try_produce(Record::to("t")).unwrap();
            drop(scene.producer.try_produce(Record::to("t")).unwrap());
            let [event] = scene.recorder.events().try_into().unwrap();
            assert_eq!(event.fields["error.type"], "dropped");
            assert!(!event.fields.contains_key("code"), "there is none");
            assert!(event.fields["message"].contains("the pool was full"));
            assert!(!scene.recorder.spans()[0].closed && scene.recorder.spans()[1].closed);
            first.retract().unwrap();
            let span = &scene.recorder.spans()[0];
            assert!(span.closed);
            assert_eq!(span.fields["error.type"], "retracted");
            assert_eq!(span.fields["otel.status_description"], "the record was taken back before it was sent");
        },
    );
}

#[test]
fn a_record_that_is_not_accepted_ends_its_span_with_an_error() {
    with(
        |builder| builder.slots(1).overflow(Overflow::Fail),
        |scene| {
            drop(scene.producer.try_produce(Record::to("t").payload(vec![0; 2000])).unwrap_err());
            let span = &scene.recorder.spans()[0];
            assert!(span.closed);
            assert_eq!(span.fields["error.type"], "too_large");
            assert!(span.fields["otel.status_description"].contains("2000 bytes"), "{span:?}");

            drop(scene.producer.try_produce(Record::to("t")).unwrap());
            let full = scene.producer.try_produce(Record::to("t")).unwrap_err();
            assert!(!scene.recorder.spans()[2].closed, "it may be tried again");
            drop(full);
            let span = &scene.recorder.spans()[2];
            assert!(span.closed);
            assert_eq!((&*span.fields["error.type"], &*span.fields["otel.status_code"]), ("abandoned", "ERROR"));

            let full = scene.producer.try_produce(Record::to("t")).unwrap_err();
            scene.backend.hand_off(None);
            drop(scene.producer.try_produce(full.into_record()).unwrap());
            scene.backend.hand_off(None);
            let spans = scene.recorder.spans();
            assert_eq!(spans.len(), 4, "an attempt after it belongs to the same span");
            assert!(spans[3].closed && !spans[3].fields.contains_key("error.type"), "{:?}", spans[3]);
        },
    );
}

#[test]
fn records_that_are_not_wanted_have_no_span_and_are_asked_of_once() {
    let wanted = |builder: Builder<ByHand>| {
        let builder = builder.slots(1).trace_records(|record| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            record.get_key().is_some()
        });
        builder.inject_trace_context(|span| TraceContext::new(7, span.id()?.into_u64(), 1).ok())
    };
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    with(wanted, |scene| {
        let around = tracing::info_span!("around");
        let around_id = around.id().unwrap().into_u64();
        around.in_scope(|| {
            drop(scene.producer.try_produce(Record::to("t")).unwrap());
            let mut waiting = scene.producer.produce(Record::to("t"));
            assert!(poll(&mut waiting).is_pending() && poll(&mut waiting).is_pending());
            let first = scene.backend.hand_off(None);
            let Poll::Ready(Ok(delivery)) = poll(&mut waiting) else { panic!("there is room") };
            drop((waiting, delivery));
            let second = scene.backend.hand_off(Some(REFUSED));
            for headers in [first, second] {
                assert_eq!(headers[0][0].1, format!("00-{:032x}-{around_id:016x}-01", 7), "of the span around it");
            }
        });
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
        assert_eq!(scene.recorder.spans().len(), 1, "there is the span around them");
        let [event] = scene.recorder.events().try_into().unwrap();
        assert_eq!((event.level, event.fields["error.type"].as_str()), (tracing::Level::WARN, "REQUEST_TIMED_OUT"));
        drop(scene.producer.try_produce(Record::to("t").key("k")).unwrap());
        assert_eq!(scene.recorder.spans().len(), 2);
    });
}

#[test]
fn a_callback_runs_inside_the_span_and_its_panic_is_an_event() {
    with(
        |builder| builder,
        |scene| {
            let (recorder, inside) = (scene.recorder.clone(), Arc::new(Mutex::new(None)));
            let noted = Arc::clone(&inside);
            let callback = move |_| *noted.lock().unwrap() = recorder.current();
            scene.producer.try_produce_with(Record::to("t"), callback).unwrap();
            scene.producer.try_produce_with(Record::to("t"), |_| panic!("on purpose")).unwrap();
            scene.backend.hand_off(None);
            assert!(scene.recorder.spans().iter().all(|span| !span.closed), "the callbacks have not run");
            scene.tasks.run();
            let [first, second] = scene.recorder.spans().try_into().unwrap();
            assert_eq!(*inside.lock().unwrap(), Some(first.id));
            assert_eq!((&*first.fields["messaging.kafka.offset"], first.closed), ("40", true));
            assert_eq!((&*second.fields["messaging.kafka.offset"], second.closed), ("41", true));
            let [event] = scene.recorder.events().try_into().unwrap();
            assert_eq!((event.level, event.span), (tracing::Level::ERROR, Some(second.id)));
            assert!(!first.fields.contains_key("error.type"));
            assert_eq!(second.fields["error.type"], "callback_panicked");
            assert_eq!(second.fields["otel.status_description"], "the callback panicked");
        },
    );
}

#[test]
fn produce_all_has_one_span() {
    with(
        |builder| builder,
        |scene| {
            let mut all = scene.producer.produce_all((0..3).map(|_| Record::to("t").payload("x")));
            while scene.producer.len() < 3 {
                assert!(poll(&mut all).is_pending());
            }
            scene.backend.hand_off(None);
            let outcomes = loop {
                if let Poll::Ready(outcomes) = poll(&mut all) {
                    break outcomes;
                }
            };
            assert_eq!(outcomes.len(), 3);
            let [span] = scene.recorder.spans().try_into().unwrap();
            assert!(span.closed);
            assert_eq!(span.fields["messaging.batch.message_count"], "3");
            assert_eq!(span.fields["otel.name"], "send t");
            assert!(!span.fields.contains_key("messaging.kafka.offset"));
            assert!(!span.fields.contains_key("error.type"));
            // What is not even accepted is an error of it, too.
            scene.backend.fatal(REFUSED.with_kind(FailureKind::Fatal));
            let mut all = scene.producer.produce_all([Record::to("t"), Record::to("other")]);
            while poll(&mut all).is_pending() {}
            let span = &scene.recorder.spans()[1];
            assert_eq!((&*span.fields["error.type"], &*span.fields["otel.name"], span.closed), ("fatal", "send", true));
            assert!(!span.fields.contains_key("messaging.destination.name"));
        },
    );
}

#[test]
fn the_trace_context_of_a_span_is_injected_and_a_records_own_is_kept() {
    let inject = |builder: Builder<ByHand>| {
        builder.inject_trace_context(|span| TraceContext::new(7, span.id()?.into_u64(), 1).ok()?.with_state("a=b").ok())
    };
    with(inject, |scene| {
        drop(scene.producer.try_produce(Record::to("t").header("other", "x")).unwrap());
        drop(scene.producer.try_produce(Record::to("t").trace_context(&PARENT.parse().unwrap())).unwrap());
        let id = scene.recorder.spans()[0].id;
        let [injected, own] = scene.backend.hand_off(None).try_into().unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let parent = format!("00-{:032x}-{id:016x}-01", 7);
        assert_eq!(injected, [header("other", "x"), header("traceparent", &parent), header("tracestate", "a=b")]);
        assert_eq!(own, [header("traceparent", PARENT)]);
    });
}

#[test]
fn flush_and_close_have_spans() {
    with(
        |builder| builder,
        |scene| {
            let mut close = {
                drop(scene.producer.try_produce(Record::to("t")).unwrap());
                let mut flush = scene.producer.flush();
                assert!(poll(&mut flush).is_pending());
                assert!(!scene.recorder.spans()[1].closed);
                scene.backend.hand_off(None);
                assert!(matches!(poll(&mut flush), Poll::Ready(Ok::<(), FlushError>(()))));
                drop(flush);
                scene.producer.close(Duration::ZERO)
            };
            assert!(poll(&mut close).is_pending());
            drop(close);
            let names: Vec<_> = scene.recorder.spans().iter().map(|span| (span.name, span.closed)).collect();
            assert_eq!(names, [("send", true), ("flush", true), ("close", true)]);
        },
    );
}

/// A subscriber that panics at every call, once it is switched on.
#[derive(Clone, Default)]
struct Touchy(Arc<AtomicBool>);

impl Touchy {
    fn look(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "a subscriber that panics, as the test has it");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Touchy {
    fn on_record(&self, _: &Id, _: &tracing::span::Record<'_>, _: layer::Context<'_, S>) {
        self.look();
    }

    fn on_event(&self, _: &Event<'_>, _: layer::Context<'_, S>) {
        self.look();
    }

    fn on_close(&self, _: Id, _: layer::Context<'_, S>) {
        self.look();
    }
}

#[test]
fn s03_a_subscriber_that_panics_costs_no_outcome() {
    let touchy = Touchy::default();
    let subscriber = tracing_subscriber::registry().with(touchy.clone());
    tracing::subscriber::with_default(subscriber, || {
        let (backend, tasks) = (ByHand::default(), Tasks::default());
        let producer = AioProducer::builder(backend.clone()).start(tasks.clone()).unwrap();
        for failure in [None, Some(REFUSED)] {
            let deliveries: Vec<_> = (0..3).map(|_| producer.try_produce(Record::to("orders")).unwrap()).collect();
            producer.try_produce_with(Record::to("orders"), |_| ()).unwrap();
            let mut flush = producer.flush();
            assert!(poll(&mut flush).is_pending());
            touchy.0.store(true, Ordering::SeqCst);
            backend.hand_off(failure);
            tasks.run();
            let flushed = poll(&mut flush);
            touchy.0.store(false, Ordering::SeqCst);
            assert_eq!(flushed, Poll::Ready(Ok(())), "nothing is waited for");
            for mut delivery in deliveries {
                let Poll::Ready(outcome) = poll(&mut delivery) else { panic!("a delivery has no outcome") };
                assert_eq!(outcome.is_ok(), failure.is_none());
            }
        }
        let statistics = producer.statistics();
        assert_eq!((statistics.callbacks_waiting, statistics.callbacks_panicked), (0, 0));
        assert!(statistics.panics_caught >= 8, "{statistics:?}");
        touchy.0.store(true, Ordering::SeqCst);
        backend.fatal(REFUSED);
        touchy.0.store(false, Ordering::SeqCst);
        assert!(producer.is_closed());
    });
}

#[test]
fn a_subscriber_that_panics_at_a_refused_record_does_so_once() {
    let touchy = Touchy::default();
    let subscriber = tracing_subscriber::registry().with(touchy.clone());
    tracing::subscriber::with_default(subscriber, || {
        let builder = AioProducer::builder(ByHand::default()).slots(1).overflow(Overflow::Fail);
        let producer = builder.start(Tasks::default()).unwrap();
        drop(producer.try_produce(Record::to("t")).unwrap());
        let full = producer.try_produce(Record::to("t")).unwrap_err();
        touchy.0.store(true, Ordering::SeqCst);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(full)));
        touchy.0.store(false, Ordering::SeqCst);
        assert!(dropped.is_err(), "the end of the span is in the caller's hands");
    });
}
