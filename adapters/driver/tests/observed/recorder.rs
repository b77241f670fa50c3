//! A subscriber that keeps all spans and events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use aioproducer_driver::AioProducer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{self, Layer};
use tracing_subscriber::registry::LookupSpan;

pub(crate) type Fields = BTreeMap<&'static str, String>;

struct Values<'a>(&'a mut Fields);

impl Values<'_> {
    /// OpenTelemetry exports twice what is set twice. A span's name is no attribute.
    fn set(&mut self, field: &Field, value: String) {
        let before = self.0.insert(field.name(), value);
        assert!(before.is_none() || field.name() == "otel.name", "{} is set twice", field.name());
    }
}

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        panic!("{} is {value}, which OpenTelemetry has as a text", field.name());
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
    pub(crate) closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct RecordedEvent {
    pub(crate) level: tracing::Level,
    pub(crate) fields: Fields,
    /// The span that it is in.
    pub(crate) span: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) spans: Vec<Span>,
    pub(crate) events: Vec<RecordedEvent>,
    pub(crate) entered: Vec<u64>,
    /// Asked at every call, as an application's subscriber may.
    pub(crate) producer: Option<AioProducer>,
}

#[derive(Clone, Default)]
pub(crate) struct Recorder(pub(crate) Arc<Mutex<Seen>>);

impl Recorder {
    fn look(&self) {
        let producer = self.0.lock().unwrap().producer.clone();
        if let Some(producer) = producer {
            let _ = producer.len();
        }
    }

    fn change(&self, id: &Id, change: impl FnOnce(&mut Span)) {
        let mut seen = self.0.lock().unwrap();
        change(seen.spans.iter_mut().rev().find(|span| span.id == id.into_u64()).unwrap());
        drop(seen);
        self.look();
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().spans.clone()
    }

    pub(crate) fn events(&self) -> Vec<RecordedEvent> {
        self.0.lock().unwrap().events.clone()
    }

    pub(crate) fn current(&self) -> Option<u64> {
        self.0.lock().unwrap().entered.last().copied()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: layer::Context<'_, S>) {
        let mut span = Span { id: id.into_u64(), name: attributes.metadata().name(), ..Span::default() };
        attributes.record(&mut Values(&mut span.fields));
        self.0.lock().unwrap().spans.push(span);
        self.look();
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, _: layer::Context<'_, S>) {
        self.change(id, |span| values.record(&mut Values(&mut span.fields)));
    }

    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Values(&mut fields));
        let span = context.event_span(event).map(|span| span.id().into_u64());
        self.0.lock().unwrap().events.push(RecordedEvent { level: *event.metadata().level(), fields, span });
        self.look();
    }

    fn on_enter(&self, id: &Id, _: layer::Context<'_, S>) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }

    fn on_exit(&self, _: &Id, _: layer::Context<'_, S>) {
        self.0.lock().unwrap().entered.pop();
    }

    fn on_close(&self, id: Id, _: layer::Context<'_, S>) {
        self.change(&id, |span| span.closed = true);
    }
}
