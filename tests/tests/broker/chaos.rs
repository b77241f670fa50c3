//! Chaos around librdkafka: it happens, and nothing is lost, doubled or reordered by it.

use std::time::{Duration, Instant};

use aioproducer_driver::{AioProducer, Record};
use aioproducer_history::{History, Log, LogEntry, ProduceCall, check};
use aioproducer_rdkafka::EmbeddedBroker;
use aioproducer_sim::{Chaos, ChaosCounts};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s18_order_holds_under_chaos_with_1_worker,
    s18_order_holds_under_chaos_with_4_workers,
    s25_an_end_under_chaos_is_in_time,
}

const PARTITIONS: i32 = 3;
const KEYS: usize = 5;
const RECORDS: usize = 2_000;

/// Far longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

async fn s18_order_holds_under_chaos_with_1_worker(host: Host) {
    order_holds(host, 1).await;
}

async fn s18_order_holds_under_chaos_with_4_workers(host: Host) {
    order_holds(host, 4).await;
}

/// A producer under much chaos, with short delays.
fn start(host: &Host, broker: &EmbeddedBroker, workers: usize) -> (AioProducer, ChaosCounts) {
    let short = Duration::from_millis(5);
    let chaos = Chaos::seeded(7).delays(300, short).late_reports(300, short).full_queues(500).rejections(50);
    let backend = chaos.around(broker::backend(broker).workers(workers));
    let counts = backend.counts();
    (host.start(AioProducer::builder(backend).slots(200)), counts)
}

async fn order_holds(host: Host, workers: usize) {
    let broker = broker::start_with_topic("t", PARTITIONS);
    let (producer, counts) = start(&host, &broker, workers);
    let (mut history, begin) = (History::new(), Instant::now());
    let mut deliveries = Vec::new();
    for n in 0..RECORDS {
        let (key, payload) = (format!("key {}", n % KEYS), format!("record {n}"));
        let call = ProduceCall::new(n as u64, "t").key(&key).payload(&payload);
        let record = history.produce(begin.elapsed(), call);
        let accepted = producer.produce(Record::to("t").key(&key).payload(&payload)).await.expect("accepted");
        history.accepted(record);
        deliveries.push((record, accepted));
        // Now and then a record is alone.
        if n % 200 == 0 {
            producer.flush().await.expect("flushed");
        }
    }
    let mut failed = 0;
    for (record, delivery) in deliveries {
        match delivery.await {
            Ok(report) => history.delivered(record, begin.elapsed(), report.partition(), report.offset()),
            Err(error) => {
                assert!(error.to_string().contains("rejected by Chaos"), "{error}");
                failed += 1;
                history.failed(record, begin.elapsed(), error.status());
            }
        }
    }
    let mut log = Log::new();
    for logged in broker::read_back(&broker, "t", PARTITIONS) {
        let number = logged.text().strip_prefix("record ").and_then(|number| number.parse().ok()).expect("a number");
        log.push("t", logged.partition, logged.offset, LogEntry::record(number).payload(logged.text()));
    }
    let verdict = check(&history, &log);
    assert!(verdict.is_right(), "{verdict}");
    assert_eq!(log.len() as u64 + counts.rejections(), RECORDS as u64);
    assert_eq!(failed, counts.rejections());
    let found = [counts.delays(), counts.late_reports(), counts.refusals(), counts.rejections()];
    assert!(found.iter().all(|count| *count > 0), "delays, late reports, refusals, rejections: {found:?}");
    assert!(producer.close(LONG).await.is_complete());
}

/// What is held up for long comes at once when the producer ends.
async fn s25_an_end_under_chaos_is_in_time(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let chaos = Chaos::seeded(7).delays(0, LONG).late_reports(1000, LONG).full_queues(0).rejections(0);
    let backend = chaos.around(broker::backend(&broker));
    let counts = backend.counts();
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(LONG));
    let delivery = producer.produce(Record::to("t").payload("late")).await.expect("accepted");
    host.until(|| counts.late_reports() == 1).await;
    assert_eq!(producer.len(), 1, "the backend has reported it, and the producer does not know");
    assert!(producer.close(Duration::ZERO).await.is_complete());
    assert_eq!(delivery.await.expect("delivered").offset(), Some(0));
}
