//! The calls of this project.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aioproducer_benches::broker::Failure;
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::settings::{self, HEADER_VALUE, HEADERS, KEY, TOPIC};
use aioproducer_benches::usage::Measured;
use aioproducer_smol::Smol;
use aioproducer_tokio::{AioProducer, Librdkafka, Record, Tokio, Topic};

use crate::case::{Case, Row, Runtime};
use crate::measure::{self, Setting, TASKS, pipelined, twice};

/// Records of one `produce_all`.
const ALL: usize = 200_000;

/// Bytes of the pool: the window's payloads, keys and headers, and a reserve.
const POOL: usize = 160 << 20;

pub(crate) async fn run(setting: Setting<'_>) -> Result<Measured, Failure> {
    let Setting { case, servers, mut payloads } = setting;
    let mut config = settings::config(servers, case.row.linger_ms());
    config.set("enable.strict.idempotence", case.row.is_strict().to_string());
    let builder = AioProducer::builder(Librdkafka::new(config)).slots(settings::window(case.size)).pool_bytes(POOL);
    let producer = match case.runtime {
        Runtime::Smol => builder.start(Smol::global())?,
        Runtime::Tokio | Runtime::None => builder.start(Tokio::current()?)?,
    };
    let topic = producer.topic(TOPIC)?;
    let measured = twice(case, async |records| match case.row {
        Row::Tasks | Row::TasksStrict => tasks(case, &producer, &topic, payloads, records).await,
        Row::ProduceAll => produce_all(case, &producer, &topic, &mut payloads, records).await,
        Row::Callback | Row::CallbackKeyed => callback(case, &producer, &topic, &mut payloads, records).await,
        Row::Dropped => dropped(case, &producer, &topic, &mut payloads, records).await,
        _ => {
            let produce = async || Ok(producer.produce(record(case, &topic, &mut payloads)).await?);
            pipelined(records, settings::window(case.size), produce, |outcome| outcome.is_ok()).await
        }
    });
    let measured = measured.await?;
    producer.close(Duration::from_secs(30)).await;
    Ok(measured)
}

fn record<'a>(case: Case, topic: &'a Topic, payloads: &mut Payloads) -> Record<'a> {
    let record = Record::to(topic);
    match case.row {
        Row::PipelinedBytes => record.payload(payloads.share(case.size)),
        Row::PipelinedKeyedBytes => record.key(payloads.share(KEY)).payload(payloads.share(case.size)),
        Row::PipelinedKeyed | Row::CallbackKeyed => record.key(payloads.lend(KEY)).payload(payloads.lend(case.size)),
        Row::PipelinedHeaders => HEADERS
            .into_iter()
            .fold(record, |record, name| record.header(name, payloads.lend(HEADER_VALUE)))
            .payload(payloads.lend(case.size)),
        _ => record.payload(payloads.lend(case.size)),
    }
}

async fn dropped(
    case: Case,
    producer: &AioProducer,
    topic: &Topic,
    payloads: &mut Payloads,
    records: usize,
) -> Result<u64, Failure> {
    for _ in 0..records {
        drop(producer.produce(record(case, topic, payloads)).await?);
    }
    producer.flush().await?;
    // No outcome is read; the broker's count shows what arrived.
    Ok(0)
}

async fn callback(
    case: Case,
    producer: &AioProducer,
    topic: &Topic,
    payloads: &mut Payloads,
    records: usize,
) -> Result<u64, Failure> {
    let (done, all) = smol::channel::bounded(1);
    // Leaked, so that the callbacks share no reference count, which is not to be measured.
    let tally: &'static Tally =
        Box::leak(Box::new(Tally { left: AtomicU64::new(records as u64), failed: AtomicU64::new(0), done }));
    for _ in 0..records {
        let callback = move |outcome: Result<_, _>| tally.count(outcome.is_err());
        producer.produce_with(record(case, topic, payloads), callback).await?;
    }
    all.recv().await?;
    Ok(tally.failed.load(Ordering::Relaxed))
}

/// What callbacks count.
struct Tally {
    left: AtomicU64,
    failed: AtomicU64,
    done: smol::channel::Sender<()>,
}

impl Tally {
    fn count(&self, failed: bool) {
        if failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The channel has room for the one message, and its reader waits.
            let _ = self.done.try_send(());
        }
    }
}

async fn produce_all(
    case: Case,
    producer: &AioProducer,
    topic: &Topic,
    payloads: &mut Payloads,
    mut records: usize,
) -> Result<u64, Failure> {
    let mut failed = 0;
    while records > 0 {
        let count = records.min(ALL);
        let outcomes = producer.produce_all((0..count).map(|_| record(case, topic, payloads))).await;
        failed += outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
        records -= count;
    }
    Ok(failed)
}

async fn tasks(
    case: Case,
    producer: &AioProducer,
    topic: &Topic,
    payloads: Payloads,
    records: usize,
) -> Result<u64, Failure> {
    let share = records / TASKS;
    let futures = (0..TASKS).map(|task| {
        let (producer, topic) = (producer.clone(), topic.clone());
        let mut payloads = payloads.starting_at(task * share * case.size);
        async move {
            let mut failed = 0;
            for _ in 0..share {
                let outcome = producer.send(record(case, &topic, &mut payloads)).await;
                failed += u64::from(outcome.is_err());
            }
            failed
        }
    });
    measure::tasks(case.runtime, futures).await
}
