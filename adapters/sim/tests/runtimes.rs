//! S51: the same scenario has the same history on the simulation's executor, on tokio's paused clock and on a host of turmoil: outcomes,
//! logs, and the order in each partition. Times differ by what tokio rounds up to milliseconds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aioproducer_driver::error::{ErrorCode, FailureKind, Status};
use aioproducer_driver::runtime::Runtime;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Produce, Sim, SimCluster};
use aioproducer_tokio::Tokio;

const RECORDS: usize = 120;

/// Where a record went, or why it failed.
type Outcome = Result<(i32, Option<i64>), (FailureKind, Status)>;

/// A record of the log: partition, offset, key and payload.
type Logged = (i32, i64, String, String);

#[derive(Debug)]
struct Seen {
    outcomes: Vec<Outcome>,
    log: Vec<Logged>,
    elapsed: Duration,
}

/// Records are produced while requests and answers are lost, a broker stops and a leader moves; one topic is unknown.
async fn scenario(runtime: Arc<dyn Runtime>, kafka: SimCluster, producer: AioProducer) -> Seen {
    let sleep = |time: Duration| runtime.sleep_until(runtime.now() + time);
    kafka.on(Produce.to("t").partition(0)).times(2).apply_then_lose_answer();
    kafka.on(Produce.to("t").partition(1)).once().answer(ErrorCode::NotEnoughReplicasAfterAppend);
    kafka.on(Produce.to("t").partition(2)).once().answer(ErrorCode::MsgSizeTooLarge);
    kafka.on(Produce.to("t").partition(3)).once().delay(Duration::from_millis(700));
    let mut deliveries = Vec::new();
    for n in 0..RECORDS {
        let topic = if n % 40 == 39 { "missing" } else { "t" };
        let record = Record::to(topic).key(format!("key-{}", n % 11)).payload(n.to_string());
        deliveries.push(producer.produce(record).await.unwrap());
        match n {
            30 => kafka.broker(2).stop_for(Duration::from_secs(3)),
            60 => kafka.broker(3).pause(Duration::from_secs(45)),
            90 => kafka.leader_of("t", 0).move_to(1),
            _ => {}
        }
        if n % 5 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        let outcome = delivery.await;
        outcomes.push(
            outcome.map(|report| (report.partition(), report.offset())).map_err(|error| (error.kind(), error.status())),
        );
    }
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let log = kafka.topic("t").records();
    let log = log.iter().map(|r| (r.partition(), r.offset(), text(r.key_str()), text(r.payload_str()))).collect();
    Seen { outcomes, log, elapsed: kafka.elapsed() }
}

fn cluster() -> SimCluster {
    SimCluster::new().with_brokers(3).with_topic("t", 4)
}

fn on_own(seed: u64) -> Seen {
    Sim::run(seed, |sim| {
        let kafka = cluster();
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        scenario(Arc::new(sim), kafka, producer)
    })
}

/// On a runtime of tokio, whose clock leaps.
async fn on_tokio() -> Seen {
    let (kafka, tokio) = (cluster(), Tokio::current().unwrap());
    let producer = AioProducer::builder(kafka.backend()).start(tokio.clone()).unwrap();
    scenario(Arc::new(tokio), kafka, producer).await
}

/// Compares with the simulation's own executor, for some orders of tasks.
fn compare(seen: &Seen) {
    for seed in 0..20 {
        let own = on_own(seed);
        assert_eq!((&seen.outcomes, &seen.log), (&own.outcomes, &own.log), "seed {seed}");
        // Each of some 30 waits, one after the other, is rounded up.
        let later = seen.elapsed.checked_sub(own.elapsed).expect("tokio's timers are not early");
        assert!(later <= Duration::from_millis(30), "seed {seed}: {own:?}, {seen:?}");
    }
    assert!(seen.outcomes.iter().any(Result::is_err) && seen.log.len() > RECORDS / 2, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn s51_tokios_paused_clock_has_the_same_history() {
    compare(&on_tokio().await);
}

#[test]
fn s51_a_host_of_turmoil_has_the_same_history() {
    let seen = Arc::new(Mutex::new(None));
    let place = Arc::clone(&seen);
    let mut world = turmoil::Builder::new().simulation_duration(Duration::from_secs(600)).build();
    world.client("service", async move {
        let seen = on_tokio().await;
        *place.lock().unwrap() = Some(seen);
        Ok(())
    });
    world.run().unwrap();
    compare(&seen.lock().unwrap().take().expect("the host has ended"));
}
