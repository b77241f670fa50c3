//! What the semantic conventions say of a producer's spans, version 1.44.0: `span.messaging.kafka.send.producer` and
//! `span.messaging.kafka.send.client` in `model/messaging/kafka.yaml`, `docs/messaging/messaging-spans.md` and
//! `docs/general/recording-errors.md` of <https://github.com/open-telemetry/semantic-conventions>.

use std::collections::BTreeMap;

use opentelemetry::Value;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    Int,
    Bool,
}

use Type::{Bool, Int, Text};

/// The attributes that a span of sending may have, of those that the producer knows.
const SEND: [(&str, Type); 11] = [
    ("error.type", Text),
    ("messaging.batch.message_count", Int),
    ("messaging.destination.name", Text),
    ("messaging.destination.partition.id", Text),
    ("messaging.kafka.message.key", Text),
    ("messaging.kafka.message.tombstone", Bool),
    ("messaging.kafka.offset", Int),
    ("messaging.message.body.size", Int),
    ("messaging.operation.name", Text),
    ("messaging.operation.type", Text),
    ("messaging.system", Text),
];

/// The attributes of a flush and a close, which the conventions do not cover. The producer's own attributes carry its name.
const CALLS: [(&str, Type); 5] = [
    ("aioproducer.remaining", Int),
    ("aioproducer.unsent", Int),
    ("error.type", Text),
    ("messaging.operation.name", Text),
    ("messaging.system", Text),
];

/// The attributes of the event that reports a failure. `level` and `target` are the layer's.
const EVENT: [(&str, Type); 8] = [
    ("code", Int),
    ("error.type", Text),
    ("level", Text),
    ("messaging.destination.name", Text),
    ("messaging.destination.partition.id", Text),
    ("reason", Text),
    ("status", Text),
    ("target", Text),
];

fn typed(value: &Value) -> Option<Type> {
    match value {
        Value::String(_) => Some(Text),
        Value::I64(_) => Some(Int),
        Value::Bool(_) => Some(Bool),
        _ => None,
    }
}

/// Checks names and types, and that no name is there twice and no text empty.
fn checked<'a>(
    allowed: &[(&str, Type)],
    attributes: impl Iterator<Item = &'a opentelemetry::KeyValue>,
) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for attribute in attributes {
        let name = attribute.key.as_str();
        let Some((_, wanted)) = allowed.iter().find(|(allowed, _)| *allowed == name) else {
            panic!("{name} is not among {allowed:?}")
        };
        assert_eq!(typed(&attribute.value), Some(*wanted), "{attribute:?}");
        assert_ne!(attribute.value.as_str(), "", "{name}");
        assert!(values.insert(name.to_owned(), attribute.value.clone()).is_none(), "{name} is there twice");
    }
    values
}

/// A span's attributes, checked against the conventions.
pub fn attributes(span: &SpanData) -> BTreeMap<String, Value> {
    let sends = !["flush", "close"].contains(&&*span.name);
    let values = checked(if sends { &SEND } else { &CALLS }, span.attributes.iter());
    assert_eq!(values["messaging.system"], "kafka".into());
    let operation = &values["messaging.operation.name"];
    match values.get("messaging.destination.name") {
        Some(topic) => assert_eq!(span.name, format!("{operation} {topic}")),
        None => assert_eq!(span.name, operation.as_str()),
    }
    if sends {
        assert_eq!((operation, &values["messaging.operation.type"]), (&"send".into(), &"send".into()));
    }
    // A type of error and a status with a description, or neither.
    match (&span.status, values.get("error.type")) {
        (Status::Unset, None) => {}
        (Status::Error { description }, Some(error)) => {
            assert!(!description.is_empty() && *description != error.as_str(), "{description}");
        }
        other => panic!("{other:?}"),
    }
    for event in &span.events.events {
        checked(&EVENT, event.attributes.iter());
    }
    values
}

/// Expects these attributes beside those that all spans of sending have.
#[track_caller]
pub fn expect(span: &SpanData, expected: &[(&str, Value)]) {
    let mut values = attributes(span);
    values.retain(|name, _| {
        !["messaging.system", "messaging.operation.name", "messaging.operation.type"].contains(&&**name)
    });
    let expected: BTreeMap<_, _> = expected.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    assert_eq!(values, expected);
}

/// Expects a failed span of this description.
#[track_caller]
pub fn expect_error(span: &SpanData, text: &str) {
    assert_eq!(span.status, Status::error(text.to_owned()));
}
