//! The example `web_service` without a broker and without a socket: its own routes and its own end, on a simulated cluster and a
//! paused clock.

use std::future::pending;
use std::io;
use std::time::Duration;

use aioproducer::error::ErrorCode;
use aioproducer::producer::CloseReport;
use aioproducer::sim::{Produce, SimBackend, SimCluster};
use aioproducer::{AioProducer, Tokio};
use axum::serve::Listener;
use futures_util::future::{join_all, try_join_all};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use self::client::{Answer, Upload};
use self::serve::{Limits, serve};

#[path = "../examples/web_service/client.rs"]
mod client;
#[path = "../examples/web_service/routes.rs"]
mod routes;
#[path = "../examples/web_service/serve.rs"]
mod serve;

/// As the service has them by default.
const LIMITS: Limits = Limits { drain: Duration::from_secs(15), close: Duration::from_secs(10) };
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections in this process.
struct Connections(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Connections {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The service, and its end, which begins when `stop` is dropped.
struct Service {
    connect: mpsc::UnboundedSender<DuplexStream>,
    producer: AioProducer,
}

struct End {
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<CloseReport>>,
}

impl Service {
    fn start(backend: SimBackend, slots: usize) -> anyhow::Result<(Self, End)> {
        let builder = AioProducer::builder(backend).slots(slots).delivery_timeout(DELIVERY_TIMEOUT);
        let producer = builder.start(Tokio::current()?)?;
        let (connect, connections) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let server = serve(Connections(connections), producer.clone(), async { drop(stopped.await) }, LIMITS);
        Ok((Self { connect, producer }, End { stop, server: tokio::spawn(server) }))
    }

    fn connect(&self) -> anyhow::Result<DuplexStream> {
        let (own, other) = tokio::io::duplex(1 << 16);
        self.connect.send(other)?;
        Ok(own)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        Upload::request(self.connect()?, "GET", path, 0).await?.finish(b"").await
    }

    async fn post(&self, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
        Upload::request(self.connect()?, "POST", path, body.len()).await?.finish(body).await
    }

    async fn begin(&self, path: &str, length: usize) -> anyhow::Result<Upload<DuplexStream>> {
        Upload::begin(self.connect()?, path, length).await
    }
}

fn orders() -> SimCluster {
    SimCluster::new().with_topic("orders", 1)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_in_the_log_is_answered_with_201_and_its_place() -> anyhow::Result<()> {
    let kafka = orders();
    let (service, end) = Service::start(kafka.backend(), 100)?;
    let first = service.post("/records/orders?key=customer-7", b"two apples").await?.expect(201)?;
    let second = service.post("/records/orders", b"\xff\0 pears").await?.expect(201)?;
    assert_eq!((&first.body["topic"], &first.body["partition"]), (&"orders".into(), &0.into()));
    assert_eq!((&first.body["offset"], &second.body["offset"]), (&0.into(), &1.into()));
    let records = kafka.topic("orders").records();
    assert_eq!((records[0].key_str(), records[0].payload_str()), (Some("customer-7"), Some("two apples")));
    assert_eq!((records[1].key(), records[1].payload()), (None, Some(&b"\xff\0 pears"[..])));
    drop(end.stop);
    assert!(end.server.await??.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_large_is_answered_with_413_and_is_not_in_the_log() -> anyhow::Result<()> {
    let kafka = orders();
    let (service, _end) = Service::start(kafka.backend(), 100)?;
    // Above the producer's limit, and above what the web server reads at all.
    for length in [1_500_000, 3_000_000] {
        let answer = service.post("/records/orders", &vec![b'x'; length]).await?.expect(413)?;
        assert_eq!(answer.body["persisted"], "no");
    }
    assert!(kafka.topic("orders").records().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_answered_with_503_and_when_to_come_again() -> anyhow::Result<()> {
    let kafka = orders();
    let (service, _end) = Service::start(kafka.backend(), 1)?;
    let held = kafka.hold("orders");
    let meanwhile = async {
        let only = held.next().await;
        let full = service.post("/records/orders", b"no slot").await?.expect(503)?;
        assert!(full.head.contains("retry-after: 1\r\n"), "{full:?}");
        only.deliver();
        anyhow::Ok(())
    };
    let (first, meanwhile) = tokio::join!(service.post("/records/orders", b"takes the only slot"), meanwhile);
    meanwhile?;
    first?.expect(201)?;
    assert_eq!(kafka.topic("orders").records().len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_stopped_the_service_is_not_ready_and_says_in_time_what_is_not_delivered()
-> anyhow::Result<()> {
    let kafka = orders();
    let (service, _end) = Service::start(kafka.backend(), 100)?;
    service.get("/readyz").await?.expect(200)?;
    kafka.broker(1).stop();
    yield_now().await;
    let away = service.get("/readyz").await?.expect(503)?;
    assert_eq!(away.body["connected"], false);
    let begin = Instant::now();
    let late = service.post("/records/orders", b"no broker").await?.expect(504)?;
    assert_eq!((late.body["persisted"].as_str(), begin.elapsed().as_secs()), (Some("no"), DELIVERY_TIMEOUT.as_secs()));
    service.get("/healthz").await?.expect(200)?;
    kafka.broker(1).start();
    yield_now().await;
    service.get("/readyz").await?.expect(200)?;
    service.post("/records/orders", b"two apples").await?.expect(201)?;
    assert_eq!(kafka.topic("orders").records().len(), 1, "what was answered with 504 does not come later");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_fails_is_answered_with_whether_it_may_be_in_the_log() -> anyhow::Result<()> {
    let kafka = orders();
    let (service, _end) = Service::start(kafka.backend().retries(0), 100)?;
    kafka.on(Produce).once().answer(ErrorCode::InvalidRecord);
    let refused = service.post("/records/orders", b"refused").await?.expect(502)?;
    assert_eq!((refused.body["persisted"].as_str(), kafka.topic("orders").records().len()), (Some("no"), 0));
    kafka.on(Produce).once().apply_then_lose_answer();
    let unknown = service.post("/records/orders", b"written").await?.expect(502)?;
    assert_eq!((unknown.body["persisted"].as_str(), kafka.topic("orders").records().len()), (Some("possibly"), 1));
    Ok(())
}

/// Requests that wait for a delivery when the end begins, and requests that have not produced their record yet.
const WAITING: usize = 20;
const UPLOADS: usize = 10;

#[tokio::test(start_paused = true)]
async fn the_end_answers_what_was_begun_and_takes_no_more() -> anyhow::Result<()> {
    let kafka = orders();
    let (service, end) = Service::start(kafka.backend(), 100)?;
    let held = kafka.hold("orders");
    let waiting = join_all((0..WAITING).map(|_| service.post("/records/orders", b"in flight")));
    let ending = async {
        while held.waiting() < WAITING {
            yield_now().await;
        }
        let uploads = try_join_all((0..UPLOADS).map(|_| service.begin("/records/orders", 4))).await?;
        drop(end.stop);
        service.connect.closed().await;
        assert!(service.connect().is_err(), "no new connection");
        drop(held);
        let uploads = try_join_all(uploads.into_iter().map(|upload| upload.finish(b"late"))).await?;
        anyhow::Ok((uploads, end.server.await??))
    };
    let (waiting, ending) = tokio::join!(waiting, ending);
    let (uploads, report) = ending?;
    for answer in waiting.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().chain(uploads) {
        answer.expect(201)?;
    }
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(kafka.topic("orders").records().len(), WAITING + UPLOADS);
    assert!(service.producer.is_closed(), "the producer ends with the service");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_end_that_takes_too_long_is_cut_off_and_each_request_has_its_answer() -> anyhow::Result<()> {
    let kafka = orders();
    let (service, end) = Service::start(kafka.backend(), 100)?;
    let held = kafka.hold("orders");
    let ending = async {
        // Never decided.
        let stuck = held.next().await;
        let stalled = service.begin("/records/orders", 1_000_000).await?;
        let begin = Instant::now();
        drop(end.stop);
        let stalled = stalled.finish(b"").await?.expect(503)?;
        assert_eq!(stalled.body["persisted"], "no");
        let report = end.server.await??;
        drop(stuck);
        anyhow::Ok((report, begin.elapsed()))
    };
    let (stuck, ending) = tokio::join!(service.post("/records/orders", b"two apples"), ending);
    let (report, took) = ending?;
    let stuck = stuck?.expect(503)?;
    assert!(!stuck.head.contains("retry-after"), "the service does not come back: {stuck:?}");
    assert_eq!(report.unsent().len(), 1, "{report:?}");
    assert_eq!(report.unsent()[0].record.get_payload(), Some(&b"two apples"[..]));
    assert_eq!(took.as_secs(), (LIMITS.drain + LIMITS.close).as_secs(), "both limits, of virtual time");
    assert!(kafka.topic("orders").records().is_empty());
    Ok(())
}
