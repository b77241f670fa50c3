//! The producers of the `rdkafka` crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aioproducer_benches::broker::Failure;
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::settings::{self, HEADER_VALUE, HEADERS, KEY, TOPIC};
use aioproducer_benches::usage::Measured;
use rdkafka::ClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer,
};

use crate::case::{Case, Row};
use crate::measure::{self, Setting, TASKS, pipelined, twice};

/// Counts outcomes.
#[derive(Clone, Default)]
struct Outcomes(Arc<Counts>);

#[derive(Default)]
struct Counts {
    ended: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.failed.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

impl Outcomes {
    fn ended(&self) -> u64 {
        self.0.ended.load(Ordering::Acquire)
    }
}

/// `BaseProducer`: the sender polls after every thousand records, and when the window is full.
pub(crate) fn base(setting: Setting<'_>) -> Result<Measured, Failure> {
    let Setting { case, servers, mut payloads } = setting;
    let outcomes = Outcomes::default();
    let config = settings::config(servers, case.row.linger_ms());
    let producer: BaseProducer<Outcomes> = config.create_with_context(outcomes.clone())?;
    let window = settings::window(case.size) as u64;
    let mut sent = 0;
    let measured = twice(case, async |records| {
        for _ in 0..records {
            if sent % 1000 == 0 {
                producer.poll(Duration::ZERO);
            }
            while sent - outcomes.ended() >= window {
                producer.poll(Duration::from_millis(100));
            }
            producer.send(base_record(case, &mut payloads)).map_err(|(error, _)| error)?;
            sent += 1;
        }
        while outcomes.ended() < sent {
            producer.poll(Duration::from_millis(100));
        }
        Ok(outcomes.0.failed.swap(0, Ordering::Relaxed))
    });
    smol::block_on(measured)
}

/// `ThreadedProducer`: its own thread polls; the sender yields when the window is full.
pub(crate) fn threaded(setting: Setting<'_>) -> Result<Measured, Failure> {
    let Setting { case, servers, mut payloads } = setting;
    let outcomes = Outcomes::default();
    let config = settings::config(servers, case.row.linger_ms());
    let producer: ThreadedProducer<Outcomes> = config.create_with_context(outcomes.clone())?;
    let window = settings::window(case.size) as u64;
    let mut sent = 0;
    let measured = twice(case, async |records| {
        for _ in 0..records {
            while sent - outcomes.ended() >= window {
                std::thread::yield_now();
            }
            producer.send(base_record(case, &mut payloads)).map_err(|(error, _)| error)?;
            sent += 1;
        }
        producer.flush(Duration::from_secs(30))?;
        Ok(outcomes.0.failed.swap(0, Ordering::Relaxed))
    });
    smol::block_on(measured)
}

fn base_record(case: Case, payloads: &mut Payloads) -> BaseRecord<'static, [u8], [u8]> {
    BaseRecord::to(TOPIC).payload(payloads.lend(case.size))
}

/// `FutureProducer`.
pub(crate) async fn future(setting: Setting<'_>) -> Result<Measured, Failure> {
    let Setting { case, servers, mut payloads } = setting;
    let producer: FutureProducer = settings::config(servers, case.row.linger_ms()).create()?;
    twice(case, async |records| {
        if case.row == Row::FutureTasks {
            return tasks(case, &producer, payloads, records).await;
        }
        let produce = async || Ok(producer.send_result(record(case, &mut payloads)).map_err(|(error, _)| error)?);
        let delivered = |outcome: Result<Result<_, _>, _>| matches!(outcome, Ok(Ok(_)));
        pipelined(records, settings::window(case.size), produce, delivered).await
    })
    .await
}

fn record(case: Case, payloads: &mut Payloads) -> FutureRecord<'static, [u8], [u8]> {
    let record = FutureRecord::to(TOPIC);
    match case.row {
        Row::FutureKeyed => record.key(payloads.lend(KEY)).payload(payloads.lend(case.size)),
        Row::FutureHeaders => {
            let headers = HEADERS.into_iter().fold(OwnedHeaders::new_with_capacity(HEADERS.len()), |headers, key| {
                headers.insert(Header { key, value: Some(payloads.lend(HEADER_VALUE)) })
            });
            record.headers(headers).payload(payloads.lend(case.size))
        }
        _ => record.payload(payloads.lend(case.size)),
    }
}

async fn tasks(case: Case, producer: &FutureProducer, payloads: Payloads, records: usize) -> Result<u64, Failure> {
    let share = records / TASKS;
    let futures = (0..TASKS).map(|task| {
        let producer = producer.clone();
        let mut payloads = payloads.starting_at(task * share * case.size);
        async move {
            let mut failed = 0;
            for _ in 0..share {
                let outcome = producer.send(record(case, &mut payloads), Duration::from_secs(30)).await;
                failed += u64::from(outcome.is_err());
            }
            failed
        }
    });
    measure::tasks(case.runtime, futures).await
}
