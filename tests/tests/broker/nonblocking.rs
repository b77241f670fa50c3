//! S28: no call blocks a runtime's thread, with the broker up, slow, down or unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aioproducer_core::backend::FailureKind;
use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::{Host, Joined};
use aioproducer_tests::probe::{Observed, at_once, poll_once};
use aioproducer_tests::{broker, promises};

promises! {
    s28_no_poll_of_any_call_waits_while_the_broker_is_unknown,
    s28_other_tasks_go_on_while_the_broker_is_unknown,
    s28_other_tasks_go_on_while_the_broker_is_slow,
    s28_other_tasks_go_on_while_the_broker_is_down,
    s28_deliveries_end_at_their_timeout_and_close_returns_when_the_broker_is_unknown,
}

const SLOTS: usize = 200;

fn record() -> Record<'static> {
    Record::to("t").payload("x")
}

/// Every public call is polled once on the only thread. A call that blocked would block forever.
async fn s28_no_poll_of_any_call_waits_while_the_broker_is_unknown(host: Host) {
    let builder = AioProducer::builder(broker::unreachable()).slots(3).delivery_timeout(Duration::from_secs(3600));
    let producer = host.start(builder);
    let mut first = Observed::new(at_once(producer.produce(record())).expect("accepted"));
    let mut second = Observed::new(producer.try_produce(record()).expect("accepted"));
    let mut sent = Box::pin(producer.send(record()));
    assert!(first.is_pending() && second.is_pending() && poll_once(&mut sent).is_pending());
    assert!(matches!(producer.try_produce(record()), Err(ProduceError::Full(_))));
    let mut waiting = Observed::new(producer.produce(record()));
    let mut all = Observed::new(producer.produce_all([record(), record()]));
    let mut flush = Observed::new(producer.flush());
    let mut limited = Observed::new(producer.flush().within(Duration::from_secs(3600)));
    assert!(waiting.is_pending() && all.is_pending() && flush.is_pending() && limited.is_pending());
    assert_eq!((producer.len(), producer.is_empty(), producer.is_closed()), (3, false, false));
    assert_eq!(producer.statistics().waiters, 2);
    assert_eq!(producer.topic("t").expect("a name").name(), "t");
    assert!(format!("{producer:?}").contains("statistics"));
    drop((producer.clone(), flush, limited));

    let mut close = Observed::new(producer.close(Duration::from_secs(3600)));
    assert!(close.is_pending() && first.is_pending());
    assert!(producer.is_closed());
    let mut sooner = Observed::new(producer.close(Duration::ZERO));
    assert!(sooner.is_pending());
    drop(sooner);
    // The shorter deadline holds; three records could not be sent.
    assert_eq!(close.into_future().await.unsent().len(), 3);
    assert!(waiting.ready().is_err());
    assert!(all.into_future().await.iter().all(Result::is_err));
    assert!(first.ready().is_err() && second.ready().is_err());
    assert!(sent.await.is_err());
    drop(producer);
}

/// A task that shows whether the executor still runs tasks.
struct Ticker {
    ticks: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: Joined<()>,
    host: Host,
}

impl Ticker {
    fn start(host: &Host) -> Self {
        let (ticks, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let task = {
            let (host, ticks, stop) = (host.clone(), Arc::clone(&ticks), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::SeqCst) {
                    host.pause(Duration::from_millis(1)).await;
                    ticks.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        Self { ticks, stop, task: host.spawn(task), host: host.clone() }
    }

    /// Returns once the task has run again.
    async fn goes_on(&self) {
        let before = self.ticks.load(Ordering::SeqCst);
        self.host.until(|| self.ticks.load(Ordering::SeqCst) > before).await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.join().await;
    }
}

/// Fills the pool, flushes and closes. After each step another task must still run.
async fn others_go_on(host: &Host, producer: AioProducer) {
    let ticker = Ticker::start(host);
    let mut deliveries = Vec::new();
    // Each partition takes its share.
    for n in 0..4 {
        let record = || Record::to("t").partition(n).payload("x");
        while let Ok(delivery) = producer.try_produce(record()) {
            deliveries.push(delivery);
        }
    }
    let count = deliveries.len();
    assert!(count > SLOTS / 2, "{count}");
    ticker.goes_on().await;
    let mut waiting = Observed::new(producer.produce(record().partition(0)));
    assert!(waiting.is_pending());
    ticker.goes_on().await;
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    ticker.goes_on().await;
    assert!(producer.flush().within(Duration::from_millis(20)).await.is_err());
    let other = producer.clone();
    let close = host.spawn(async move { other.close(Duration::from_millis(50)).await });
    ticker.goes_on().await;
    let report = close.join().await;
    ticker.goes_on().await;
    assert_eq!(report.unsent().len(), count);
    for delivery in deliveries {
        let error = delivery.await.expect_err("no answer came");
        assert!(matches!(error.kind(), FailureKind::Closed | FailureKind::Purged), "{error}");
    }
    assert!(flush.ready().is_ok());
    drop(waiting);
    drop(producer);
    ticker.goes_on().await;
    ticker.stop().await;
}

async fn s28_other_tasks_go_on_while_the_broker_is_unknown(host: Host) {
    let producer = host.start(AioProducer::builder(broker::unreachable()).slots(SLOTS));
    others_go_on(&host, producer).await;
}

async fn s28_other_tasks_go_on_while_the_broker_is_slow(host: Host) {
    let broker = broker::start_with_topic("t", 4);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(SLOTS));
    producer.send(record()).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_secs(3600)).expect("a delay");
    others_go_on(&host, producer).await;
    // So that its threads end.
    broker.round_trip_time(-1, Duration::ZERO).expect("no delay");
}

async fn s28_other_tasks_go_on_while_the_broker_is_down(host: Host) {
    let broker = broker::start_with_topic("t", 4);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(SLOTS));
    producer.send(record()).await.expect("delivered");
    broker.broker_down(-1).expect("it goes");
    others_go_on(&host, producer).await;
}

async fn s28_deliveries_end_at_their_timeout_and_close_returns_when_the_broker_is_unknown(host: Host) {
    let mut config = broker::config_for(&broker::closed_port());
    config.set("reconnect.backoff.max.ms", "100");
    let builder = AioProducer::builder(Librdkafka::new(config)).slots(100);
    let producer = host.start(builder.delivery_timeout(Duration::from_millis(800)));
    let ticker = Ticker::start(&host);
    let deliveries: Vec<_> = (0..100).map(|_| at_once(producer.produce(record())).expect("accepted")).collect();
    let waited = producer.produce(record()).await.expect("room comes back with the outcomes");
    for delivery in deliveries {
        assert_eq!(delivery.await.expect_err("no broker is there").kind(), FailureKind::TimedOut);
    }
    assert_eq!(waited.await.expect_err("no broker is there").kind(), FailureKind::TimedOut);
    ticker.goes_on().await;
    assert!(producer.close(Duration::from_secs(30)).await.is_complete());
    ticker.stop().await;
}
