//! The service, asked by a client over TCP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aioproducer::producer::CloseReport;
use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Tokio};
use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join_all};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use super::client::{Answer, Upload};
use super::serve::{Limits, serve};

/// No check may take longer; it is only reached when one hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// More than any end takes here.
const PATIENT: Limits = Limits { drain: LIMIT, close: LIMIT };

/// Requests that wait for a delivery when the end begins, and requests that have not produced their record yet.
const WAITING: usize = 200;
const UPLOADS: usize = 100;

pub(crate) async fn run() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start()?;
    let checks = async {
        answers(&broker).await.context("answers")?;
        health(&broker).await.context("health")?;
        full_pool(&broker).await.context("full pool")?;
        broker_away(&broker).await.context("broker away")?;
        drained(&broker).await.context("drained")?;
        cut_off(&broker).await.context("cut off")
    };
    tokio::time::timeout(LIMIT, checks).await.context("no end in sight")??;
    println!("self-test passed");
    Ok(())
}

/// What a client gets to see while all is well.
async fn answers(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let (service, end) = Service::start(broker, 100, LIMIT, PATIENT).await?;

    let first = service.post("/records/orders?key=customer-7", b"two apples").await?.expect(201)?;
    let second = service.post("/records/orders?key=customer-7", b"\xff\0 pears").await?.expect(201)?;
    ensure!(first.body["topic"] == "orders", "{first:?}");
    ensure!(first.body["partition"] == second.body["partition"], "one key, one partition: {first:?}, {second:?}");
    let offsets = [&first, &second].map(|answer| answer.body["offset"].as_i64());
    ensure!(offsets[0].is_some_and(|offset| offsets[1] == Some(offset + 1)), "in order: {first:?}, {second:?}");
    service.post("/records/orders", b"").await?.expect(201)?;

    // Above the producer's limit, and above what the web server reads at all.
    service.post("/records/orders", &vec![b'x'; 1_500_000]).await?.expect(413)?;
    service.post("/records/orders", &vec![b'x'; 3_000_000]).await?.expect(413)?;
    for topic in ["sp%20ace", "%2e%2e", &"long".repeat(100)] {
        service.post(&format!("/records/{topic}"), b"").await?.expect(400)?;
    }

    let report = end.stop().await?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// What a load balancer gets to see while the broker is away, and when it is back.
async fn health(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let (service, end) = Service::start(broker, 100, LIMIT, PATIENT).await?;
    service.post("/records/orders", b"the connection is warm").await?.expect(201)?;
    let ready = service.get("/readyz").await?.expect(200)?;
    ensure!(ready.body["leaders"][0]["answers"] == true && ready.body["oldest"].is_null(), "{ready:?}");

    broker.broker_down(-1)?;
    while service.get("/readyz").await?.status != 503 {
        yield_now().await;
    }
    broker.broker_up(-1)?;
    while service.get("/readyz").await?.status != 200 {
        yield_now().await;
    }
    ensure!(service.get("/healthz").await?.status == 200, "the producer goes on");

    let report = end.stop().await?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// A pool of one record, which the broker keeps waiting.
async fn full_pool(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let (service, end) = Service::start(broker, 1, LIMIT, PATIENT).await?;
    service.post("/records/orders", b"the connection is warm").await?.expect(201)?;

    broker.broker_down(-1)?;
    let waiting = service.post("/records/orders", b"takes the only slot");
    let meanwhile = async {
        while service.producer.is_empty() {
            yield_now().await;
        }
        let full = service.post("/records/orders", b"no slot").await?.expect(503)?;
        ensure!(full.head.contains("retry-after: 1\r\n"), "{full:?}");
        broker.broker_up(-1)?;
        Ok(())
    };
    let (waiting, meanwhile) = tokio::join!(waiting, meanwhile);
    meanwhile?;
    waiting?.expect(201)?;

    let report = end.stop().await?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// Records that cannot be delivered in time.
async fn broker_away(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let (service, end) = Service::start(broker, 10, Duration::from_secs(1), PATIENT).await?;
    service.post("/records/orders", b"the connection is warm").await?.expect(201)?;
    broker.broker_down(-1)?;
    // What is handed off before the client knows may be in the log.
    while service.get("/readyz").await?.status != 503 {
        yield_now().await;
    }
    let late = service.post("/records/orders", b"no broker").await?.expect(504)?;
    ensure!(late.body["persisted"] == "no", "{late:?}");
    broker.broker_up(-1)?;
    end.stop().await?;
    Ok(())
}

/// An end under load: what was begun is answered, by a producer that is still open.
async fn drained(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    broker.create_topic("drained", 4, 1)?;
    // A partition leaves others a part of the pool.
    let (service, end) = Service::start(broker, 2 * (WAITING + UPLOADS), LIMIT, PATIENT).await?;
    service.post("/records/drained", b"the connection is warm").await?.expect(201)?;

    // Nothing is delivered before the end has begun.
    broker.broker_down(-1)?;
    let waiting = join_all((0..WAITING).map(|_| service.post("/records/drained", b"in flight")));
    let ending = async {
        while service.producer.len() < WAITING {
            yield_now().await;
        }
        let uploads = try_join_all((0..UPLOADS).map(|_| service.begin("/records/drained", 4))).await?;
        drop(end.stop);
        while service.connect().await.is_ok() {
            yield_now().await;
        }
        broker.broker_up(-1)?;
        let uploads = join_all(uploads.into_iter().map(|upload| upload.finish(b"late"))).await;
        let report = end.server.await??;
        ensure!(report.is_complete(), "{report:?}");
        Ok(uploads)
    };
    let (waiting, uploads) = tokio::join!(waiting, ending);
    for answer in waiting.into_iter().chain(uploads?) {
        let answer = answer?;
        ensure!(answer.status == 201, "a request that was begun: {answer:?}");
    }
    let records = broker.records("drained").await?;
    ensure!(records.len() == 1 + WAITING + UPLOADS, "{} records", records.len());
    println!("{WAITING} requests with a record in flight and {UPLOADS} without one were answered 201 during the end");
    Ok(())
}

/// An end that takes too long: the producer gives its record back, and the requests under way receive an error.
async fn cut_off(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let limits = Limits { drain: Duration::from_millis(100), close: Duration::from_millis(100) };
    let (service, end) = Service::start(broker, 10, LIMIT, limits).await?;
    service.post("/records/orders", b"the connection is warm").await?.expect(201)?;

    broker.broker_down(-1)?;
    // Of a short record librdkafka has a copy, which does not come back if it takes too long to end.
    let payload = [b'x'; 1_000];
    let waiting = service.post("/records/orders", &payload);
    let ending = async {
        while service.producer.is_empty() {
            yield_now().await;
        }
        let stalled = service.begin("/records/orders", 1_000_000).await?;
        drop(end.stop);
        let stalled = stalled.finish(b"").await?.expect(503)?;
        ensure!(stalled.body["persisted"] == "no", "{stalled:?}");
        let report = end.server.await??;
        ensure!(report.unsent().len() == 1, "{report:?}");
        ensure!(report.unsent()[0].record.get_payload() == Some(&payload[..]), "{report:?}");
        Ok(())
    };
    let (waiting, ending) = tokio::join!(waiting, ending);
    ending?;
    let unsent = waiting?.expect(503)?;
    ensure!(unsent.body["persisted"] != "yes" && !unsent.head.contains("retry-after"), "{unsent:?}");
    broker.broker_up(-1)?;
    Ok(())
}

/// The service on a free port.
struct Service {
    address: SocketAddr,
    producer: AioProducer,
}

/// Its end, which begins when `stop` is dropped.
struct End {
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<CloseReport>>,
}

impl End {
    async fn stop(self) -> anyhow::Result<CloseReport> {
        drop(self.stop);
        self.server.await?
    }
}

impl Service {
    async fn start(
        broker: &EmbeddedBroker,
        slots: usize,
        delivery_timeout: Duration,
        limits: Limits,
    ) -> anyhow::Result<(Self, End)> {
        let mut config = ClientConfig::new();
        // Back to the broker soon after it returns.
        config.set("bootstrap.servers", broker.bootstrap_servers()).set("reconnect.backoff.max.ms", "100");
        let producer = AioProducer::builder(Librdkafka::new(config))
            .slots(slots)
            .delivery_timeout(delivery_timeout)
            .start(Tokio::current()?)?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = serve(listener, producer.clone(), async { drop(stopped.await) }, limits);
        Ok((Self { address, producer }, End { stop, server: tokio::spawn(server) }))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        Upload::request(self.connect().await?, "GET", path, 0).await?.finish(b"").await
    }

    async fn post(&self, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
        Upload::request(self.connect().await?, "POST", path, body.len()).await?.finish(body).await
    }

    async fn begin(&self, path: &str, length: usize) -> anyhow::Result<Upload<TcpStream>> {
        Upload::begin(self.connect().await?, path, length).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.address).await
    }
}
