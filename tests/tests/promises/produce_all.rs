//! S7: many records in one call.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::Observed;
use aioproducer_tests::records::numbered;
use aioproducer_tests::scripted::{Script, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s07_produce_all_gives_each_outcome_in_order,
    s07_produce_all_reaches_the_log_in_order,
    s07_produce_all_dropped_early_lets_the_accepted_go_their_way,
}

async fn s07_produce_all_gives_each_outcome_in_order(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(16));
    let worker = {
        let script = script.clone();
        host.spawn(async move {
            while let Some(hand) = script.next().await {
                // Reported in reverse order; every seventh one failed.
                for record in hand.accept().iter().rev() {
                    if record.text().parse::<usize>().unwrap() % 7 == 0 {
                        script.fail(record, failure(FailureKind::Broker, Status::NotPersisted));
                    } else {
                        script.deliver([record]);
                    }
                }
            }
        })
    };
    let records = (0..500).map(|n| {
        let topic = if n % 50 == 3 { String::from("no topic") } else { format!("t{}", n % 3) };
        Record::to(topic).payload(n.to_string())
    });
    let outcomes = producer.produce_all(records).await;
    assert_eq!(outcomes.len(), 500);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(report) => {
                assert!(n % 50 != 3 && n % 7 != 0, "{n} was delivered");
                assert_eq!(report.topic(), format!("t{}", n % 3));
            }
            Err(error) => {
                assert_eq!(error.kind().is_none(), n % 50 == 3, "{n}: {error}");
                assert!(n % 50 == 3 || n % 7 == 0, "{n} failed");
                let record = error.into_record().expect("the record");
                assert_eq!(record.get_payload(), Some(n.to_string().as_bytes()));
            }
        }
    }
    assert_eq!(producer.statistics().high_water, 16);
    assert!(producer.produce_all(Vec::<Record>::new()).await.is_empty());
    producer.close(Duration::MAX).await;
    worker.join().await;
}

async fn s07_produce_all_reaches_the_log_in_order(host: Host) {
    let broker = broker::start_with_topic("all", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(100));
    let outcomes = producer.produce_all((0..1000).map(|n| Record::to("all").payload(n.to_string()))).await;
    let offsets: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.expect("delivered").offset().expect("an offset")).collect();
    assert_eq!(offsets, (0..1000).collect::<Vec<i64>>());
    let log = broker::read_back(&broker, "all", 1);
    let found: Vec<_> = log.iter().map(|logged| logged.text().to_owned()).collect();
    assert_eq!(found, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn s07_produce_all_dropped_early_lets_the_accepted_go_their_way(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4));
    let mut all = Observed::new(producer.produce_all((0..10).map(|n| Record::to("t").payload(n.to_string()))));
    assert!(all.is_pending());
    let mut bystander = Observed::new(producer.produce(numbered(99)));
    assert!(bystander.is_pending());
    drop(all);
    script.serve(&host);
    bystander.into_future().await.expect("accepted").await.expect("delivered");
    assert_eq!(texts(&script.log()), ["0", "1", "2", "3", "99"]);
    assert_eq!((producer.statistics().in_use, producer.statistics().waiters), (0, 0));
}

/// `produce_all` does not tie the records' lifetime to the producer's. This only has to compile: records that borrow nothing, and a
/// borrowed producer.
#[test]
fn s07_produce_all_takes_iterators_of_owned_records() {
    fn _compiles(producer: &AioProducer, records: std::sync::mpsc::Receiver<Record<'static>>) {
        drop(producer.produce_all(records));
    }
}
