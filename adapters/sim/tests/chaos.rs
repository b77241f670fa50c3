//! Chaos around a backend: each kind happens, and nothing is lost, doubled or reordered by it. Around librdkafka it is tested beside
//! its other tests.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_driver::error::{Advice, ErrorCode, Status};
use aioproducer_driver::{AioProducer, PurgeScope, Record};
use aioproducer_sim::{Chaos, ChaosCounts, Sim, SimCluster};
use aioproducer_tokio::Tokio;

const RECORDS: usize = 200;
const KEYS: usize = 5;

/// What became of a record: its partition and offset, or its status.
type End = Result<(i32, i64), Status>;

/// No chaos of any kind.
fn none(seed: u64) -> Chaos {
    Chaos::seeded(seed).delays(0, Duration::ZERO).late_reports(0, Duration::ZERO).full_queues(0).rejections(0)
}

/// Sends records under chaos, and returns what became of them.
async fn orders(sim: Sim, kafka: SimCluster, chaos: Chaos) -> (Vec<End>, ChaosCounts) {
    let chaos = chaos.around(kafka.backend());
    let counts = chaos.counts();
    let producer = AioProducer::builder(chaos).slots(64).start(sim.clone()).unwrap();
    let mut deliveries = Vec::new();
    for n in 0..RECORDS {
        let record = Record::to("orders").key(format!("customer {}", n % KEYS)).payload(n.to_string());
        deliveries.push(producer.produce(record).await.unwrap());
    }
    let mut ends = Vec::new();
    for delivery in deliveries {
        let end = delivery.await;
        ends.push(end.map(|report| (report.partition(), report.offset().unwrap())).map_err(|error| error.status()));
    }
    assert!(producer.close(Duration::from_secs(10)).await.is_complete());
    (ends, counts)
}

/// Compares what became of records with the log: each one that is delivered is there, at its place and once, the others are not, and
/// the records of a key are in their order.
fn compare(kafka: &SimCluster, ends: &[End]) {
    let log = kafka.topic("orders").records();
    let number = |record: &aioproducer_sim::LogRecord| record.payload_str().unwrap().parse::<usize>().unwrap();
    let found: BTreeMap<_, _> =
        log.iter().map(|record| (number(record), (record.partition(), record.offset()))).collect();
    assert_eq!(found.len(), log.len(), "none is there twice");
    for (n, end) in ends.iter().enumerate() {
        match end {
            Ok(place) => assert_eq!(found.get(&n), Some(place), "record {n} is where its report says"),
            Err(status) => assert_eq!((*status, found.get(&n)), (Status::NotPersisted, None), "record {n} is rejected"),
        }
    }
    let mut last = BTreeMap::new();
    for record in &log {
        let before = last.insert(record.key().map(<[u8]>::to_vec), number(record));
        assert!(before < Some(number(record)), "{record:?} is behind {before:?}");
    }
}

fn kafka() -> SimCluster {
    SimCluster::new().with_brokers(3).with_topic("orders", 3)
}

#[test]
fn nothing_is_lost_doubled_or_reordered_and_each_kind_happens() {
    let mut sums = [0; 4];
    for seed in 0..100 {
        let kafka = kafka();
        let chaos = Chaos::seeded(seed).full_queues(500);
        let (ends, counts) = Sim::run(seed, |sim| orders(sim, kafka.clone(), chaos));
        compare(&kafka, &ends);
        assert_eq!(ends.iter().filter(|end| end.is_err()).count() as u64, counts.rejections());
        let found = [counts.delays(), counts.late_reports(), counts.refusals(), counts.rejections()];
        sums = std::array::from_fn(|at| sums[at] + found[at]);
    }
    assert!(sums.iter().all(|sum| *sum > 100), "delays, late reports, refusals, rejections: {sums:?}");
}

#[test]
fn a_seed_repeats_its_run() {
    let run = |seed| {
        let kafka = kafka();
        let (ends, counts) = Sim::run(7, |sim| orders(sim, kafka.clone(), Chaos::seeded(seed).full_queues(500)));
        (kafka.trace(), ends, [counts.delays(), counts.late_reports(), counts.refusals(), counts.rejections()])
    };
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!(first.0.first_difference(&again.0), None);
    assert_eq!((&first.1, first.2), (&again.1, again.2));
    assert!(first.0.first_difference(&other.0).is_some(), "another seed, another run");
}

#[test]
fn a_kind_that_is_off_does_not_happen() {
    let counts_of = |chaos: Chaos| {
        let kafka = kafka();
        let (ends, counts) = Sim::run(7, |sim| orders(sim, kafka.clone(), chaos));
        compare(&kafka, &ends);
        [counts.delays(), counts.late_reports(), counts.refusals(), counts.rejections()].map(|count| count > 0)
    };
    let second = Duration::from_secs(1);
    assert_eq!(counts_of(none(7)), [false; 4]);
    assert_eq!(counts_of(none(7).delays(500, second)), [true, false, false, false]);
    assert_eq!(counts_of(none(7).late_reports(900, second)), [false, true, false, false]);
    assert_eq!(counts_of(none(7).full_queues(500)), [false, false, true, false]);
    assert_eq!(counts_of(none(7).rejections(500)), [false, false, false, true]);
}

#[test]
fn also_when_all_that_can_happen_happens_each_record_has_its_outcome() {
    for seed in 0..20 {
        let kafka = kafka();
        let ms = Duration::from_millis(1);
        let chaos = Chaos::seeded(seed).delays(1000, ms).late_reports(1000, ms).full_queues(1000).rejections(100);
        let (ends, counts) = Sim::run(seed, |sim| orders(sim, kafka.clone(), chaos));
        compare(&kafka, &ends);
        assert!(counts.delays() > 10 && counts.refusals() > 10, "{counts:?}");
        assert_eq!(counts.late_reports(), ends.iter().filter(|end| end.is_ok()).count() as u64, "each report is late");
    }
}

#[test]
fn a_delay_holds_up_the_hand_off_and_no_longer_than_it_says() {
    Sim::run(7, |sim| async move {
        let kafka = kafka();
        let chaos = none(7).delays(1000, Duration::from_secs(10)).around(kafka.backend());
        let producer = AioProducer::builder(chaos).start(sim.clone()).unwrap();
        producer.send(Record::to("orders")).await.unwrap();
        let took = sim.elapsed();
        assert!(took > Duration::from_millis(2) && took <= Duration::from_millis(10_002), "{took:?}");
    });
}

/// The simulated client asks for batches also when nothing has woken it for one. That must not leave a record behind.
#[test]
fn records_that_are_sent_one_by_one_wait_for_one_delay_at_most() {
    for seed in 0..20 {
        Sim::run(seed, |sim| async move {
            let kafka = kafka();
            let chaos = none(7).delays(500, Duration::from_secs(60)).around(kafka.backend());
            let producer = AioProducer::builder(chaos).start(sim.clone()).unwrap();
            for n in 0..50 {
                let begin = sim.elapsed();
                producer.send(Record::to("orders").payload(n.to_string())).await.unwrap();
                let took = sim.elapsed() - begin;
                assert!(took <= Duration::from_millis(60_002), "seed {seed}, record {n}: {took:?}");
            }
        });
    }
}

#[test]
fn a_late_report_is_of_a_record_that_is_in_the_log() {
    Sim::run(7, |sim| async move {
        let kafka = kafka();
        let chaos = none(7).late_reports(1000, Duration::from_secs(10)).around(kafka.backend());
        let producer = AioProducer::builder(chaos).start(sim.clone()).unwrap();
        let delivery = producer.produce(Record::to("orders")).await.unwrap();
        sim.sleep(Duration::from_millis(3)).await;
        assert_eq!((kafka.topic("orders").records().len(), producer.len()), (1, 1), "appended, and not reported");
        delivery.await.unwrap();
        let took = sim.elapsed();
        assert!(took > Duration::from_millis(3) && took <= Duration::from_millis(10_002), "{took:?}");
    });
}

#[test]
fn a_rejected_record_comes_back_and_may_be_sent_again() {
    Sim::run(7, |sim| async move {
        let kafka = kafka();
        let producer = AioProducer::builder(none(7).rejections(1000).around(kafka.backend())).start(sim).unwrap();
        let error = producer.produce(Record::to("orders").payload("two apples")).await.unwrap().await.unwrap_err();
        assert_eq!((error.status(), error.code()), (Status::NotPersisted, Some(ErrorCode::LocalQueueFull)));
        assert_eq!(error.advice(), Advice::ResendAfter);
        assert!(error.to_string().contains("rejected by Chaos before it was sent"), "{error}");
        assert_eq!(error.record().and_then(|record| record.get_payload()), Some(&b"two apples"[..]));
        assert!(kafka.topic("orders").records().is_empty());
    });
}

#[test]
fn an_end_does_not_wait_for_what_is_held_up() {
    let hour = Duration::from_secs(3600);
    for (chaos, is_in_log) in [(none(7).delays(1000, hour), false), (none(7).late_reports(1000, hour), true)] {
        Sim::run(7, |sim| async move {
            let kafka = kafka();
            let builder = AioProducer::builder(chaos.around(kafka.backend())).delivery_timeout(24 * hour);
            let producer = builder.start(sim.clone()).unwrap();
            let delivery = producer.produce(Record::to("orders")).await.unwrap();
            let report = producer.close(Duration::from_secs(1)).await;
            assert_eq!(sim.elapsed().as_secs(), 1, "the close's own limit");
            assert_eq!(
                report.is_complete(),
                is_in_log,
                "a report that was held up is the record's outcome: {report:?}"
            );
            assert_eq!((delivery.await.is_ok(), kafka.topic("orders").records().len()), (is_in_log, is_in_log.into()));
        });
    }
}

#[test]
fn a_purge_ends_what_waits() {
    Sim::run(7, |sim| async move {
        let kafka = kafka();
        let chaos = none(7).delays(1000, Duration::from_secs(10)).around(kafka.backend());
        let producer = AioProducer::builder(chaos).start(sim.clone()).unwrap();
        let delivery = producer.produce(Record::to("orders")).await.unwrap();
        producer.purge(PurgeScope::All).await;
        assert_eq!(delivery.await.unwrap_err().status(), Status::NotPersisted);
        assert!(kafka.topic("orders").records().is_empty());
    });
}

#[tokio::test(start_paused = true)]
async fn it_runs_on_tokios_paused_clock() {
    let kafka = kafka();
    let chaos = Chaos::seeded(7).delays(500, Duration::from_secs(60)).rejections(0).around(kafka.backend());
    let counts = chaos.counts();
    let producer = AioProducer::builder(chaos).start(Tokio::current().unwrap()).unwrap();
    for n in 0..50 {
        producer.send(Record::to("orders").payload(n.to_string())).await.unwrap();
    }
    assert!(counts.delays() > 0);
    assert_eq!(kafka.topic("orders").records().len(), 50);
}
