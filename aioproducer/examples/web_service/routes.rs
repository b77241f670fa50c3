//! Requests to records, outcomes to answers.

use std::collections::HashMap;
use std::time::Duration;

use aioproducer::error::{FailureKind, Status};
use aioproducer::{AioProducer, DeliveryError, ProduceError, Record};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use serde_json::json;
use tokio::sync::watch;

/// The service's routes. What they serve when the other end of `cut` is dropped is answered with 503.
pub(crate) fn routes(producer: AioProducer, cut: watch::Receiver<()>) -> Router {
    let routes = Router::new()
        .route("/records/{topic}", post(produce))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(producer);
    routes.layer(middleware::from_fn_with_state(cut, until_cut))
}

async fn until_cut(State(mut cut): State<watch::Receiver<()>>, request: Request, next: Next) -> Response {
    tokio::select! {
        biased;
        response = next.run(request) => response,
        _ = cut.changed() => answer(StatusCode::SERVICE_UNAVAILABLE, "the service has ended", "no"),
    }
}

/// Without a producer that can go on, the service is to be started again.
async fn alive(State(producer): State<AioProducer>) -> Response {
    match producer.fatal_error() {
        Some(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        None => StatusCode::OK.into_response(),
    }
}

/// A record that waits for longer says that records do not get through.
const LONG: Duration = Duration::from_secs(10);

/// Requests are to go elsewhere while no broker can be reached, or records do not get through. One broker that does not answer is no
/// reason: records for others are delivered.
async fn ready(State(producer): State<AioProducer>) -> Response {
    let health = producer.health();
    let is_ready = health.is_connected != Some(false) && health.oldest.is_none_or(|age| age < LONG);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let leaders: Vec<_> = health
        .leaders
        .iter()
        .map(|leader| {
            json!({
                "broker": leader.broker,
                "answers": !leader.is_unavailable,
                "waiting": leader.waiting,
                "in_flight": leader.in_flight,
                "unanswered_for": leader.unanswered_for.map(|time| time.as_secs_f64()),
            })
        })
        .collect();
    let oldest = health.oldest.map(|age| age.as_secs_f64());
    (status, Json(json!({ "connected": health.is_connected, "oldest": oldest, "leaders": leaders }))).into_response()
}

/// Writes the body as a record. If the client goes away meanwhile, the record goes its way all the same.
async fn produce(
    State(producer): State<AioProducer>,
    Path(topic): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refusal(rejection.status(), &rejection),
    };
    let mut record = Record::to(&topic).payload(body);
    if let Some(key) = query.get("key") {
        record = record.key(key);
    }
    // A full pool is the client's to know: a request that waited here would only hide it.
    let delivery = match producer.try_produce(record) {
        Ok(delivery) => delivery,
        Err(error) => return not_accepted(&error),
    };
    match delivery.await {
        Ok(report) => {
            let place = json!({ "topic": report.topic(), "partition": report.partition(), "offset": report.offset() });
            (StatusCode::CREATED, Json(place)).into_response()
        }
        Err(error) => not_delivered(&error),
    }
}

fn not_accepted(error: &ProduceError<'_>) -> Response {
    match error {
        ProduceError::Full(_) | ProduceError::PartitionFull { .. } => {
            ([(header::RETRY_AFTER, "1")], refusal(StatusCode::SERVICE_UNAVAILABLE, error)).into_response()
        }
        ProduceError::Closed(_) | ProduceError::RuntimeEnded(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, error),
        ProduceError::TooLarge { .. } | ProduceError::AbovePool { .. } => refusal(StatusCode::PAYLOAD_TOO_LARGE, error),
        ProduceError::Topic { .. } | ProduceError::Invalid { .. } => refusal(StatusCode::BAD_REQUEST, error),
        _ => refusal(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

fn not_delivered(error: &DeliveryError) -> Response {
    let status = match error.kind() {
        FailureKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        FailureKind::Closed | FailureKind::Purged => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    let persisted = match error.status() {
        Status::NotPersisted => "no",
        Status::Persisted => "yes",
        _ => "possibly",
    };
    answer(status, &error.to_string(), persisted)
}

/// An answer to a record that was not sent.
fn refusal(status: StatusCode, error: &dyn std::error::Error) -> Response {
    answer(status, &error.to_string(), "no")
}

fn answer(status: StatusCode, error: &str, persisted: &str) -> Response {
    (status, Json(json!({ "error": error, "persisted": persisted }))).into_response()
}
