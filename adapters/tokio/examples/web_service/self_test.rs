//! The service, asked by a client over TCP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aioproducer_tokio::{AioProducer, ClientConfig, CloseReport, EmbeddedBroker, Librdkafka, Tokio};
use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// No check may take longer; it is only reached when one hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start()?;
    let checks = async {
        answers(&broker).await.context("answers")?;
        full_pool(&broker).await.context("full pool")?;
        broker_away(&broker).await.context("broker away")?;
        closing(&broker).await.context("closing")
    };
    tokio::time::timeout(LIMIT, checks).await.context("no end in sight")??;
    println!("self-test passed");
    Ok(())
}

/// What a client gets to see while all is well.
async fn answers(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let service = Service::start(broker, 100, LIMIT).await?;

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

    let report = service.stop().await?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// A pool of one record, which the broker keeps waiting.
async fn full_pool(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let service = Service::start(broker, 1, LIMIT).await?;
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

    let report = service.stop().await?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// Records that cannot be delivered in time.
async fn broker_away(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let service = Service::start(broker, 10, Duration::from_secs(1)).await?;
    broker.broker_down(-1)?;
    let late = service.post("/records/orders", b"nobody there").await?.expect(504)?;
    ensure!(late.body["persisted"] == "no", "{late:?}");
    broker.broker_up(-1)?;
    service.stop().await?;
    Ok(())
}

/// An end while a request waits.
async fn closing(broker: &EmbeddedBroker) -> anyhow::Result<()> {
    let service = Service::start(broker, 10, LIMIT).await?;
    service.post("/records/orders", b"the connection is warm").await?.expect(201)?;

    broker.broker_down(-1)?;
    let waiting = service.post("/records/orders", b"unsent");
    let close = async {
        while service.producer.is_empty() {
            yield_now().await;
        }
        let report = service.producer.close(Duration::ZERO).await;
        ensure!(report.unsent().len() == 1, "{report:?}");
        ensure!(report.unsent()[0].record.get_payload() == Some(b"unsent"), "{report:?}");
        Ok(())
    };
    let (waiting, close) = tokio::join!(waiting, close);
    close?;
    waiting?.expect(503)?;
    let closed = service.post("/records/orders", b"after the end").await?.expect(503)?;
    ensure!(!closed.head.contains("retry-after"), "{closed:?}");
    broker.broker_up(-1)?;
    service.stop().await?;
    Ok(())
}

/// The service on a free port.
struct Service {
    address: SocketAddr,
    producer: AioProducer,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<CloseReport>>,
}

impl Service {
    async fn start(broker: &EmbeddedBroker, slots: usize, delivery_timeout: Duration) -> anyhow::Result<Self> {
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
        let server = super::serve(listener, producer.clone(), async { drop(stopped.await) }, CLOSE_WITHIN);
        Ok(Self { address, producer, stop, server: tokio::spawn(server) })
    }

    async fn post(&self, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let mut stream = TcpStream::connect(self.address).await?;
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        // A server that refuses a body need not read it.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        Answer::parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("POST {path}: {read:?}"))
    }

    async fn stop(self) -> anyhow::Result<CloseReport> {
        drop(self.stop);
        self.server.await?
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn parse(answer: &str) -> anyhow::Result<Self> {
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Self { status, head: format!("{head}\r\n").to_lowercase(), body: serde_json::from_str(body)? })
    }

    /// This answer if it has the status.
    fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(self.status == status, "{status} was expected: {self:?}");
        println!("{status} {}", self.body);
        Ok(self)
    }
}
