//! S25, S26: hundreds of producers that start and end under load leave no thread, no file descriptor and no memory behind.
//!
//! The test counts what the whole process has, so it is a binary of its own.

use std::alloc::System;
use std::fs;
use std::future::ready;
use std::time::{Duration, Instant};

use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use aioproducer_tests::broker;
use aioproducer_tests::executor::{
    Executor, Host, OwnExecutor, SmolGlobal, TokioCurrent, TokioMulti, still_waiting, watched,
};
use aioproducer_tests::probe::{at_once, threads};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LONG: Duration = Duration::from_secs(3600);

/// Cycles of each kind, on each of the four executors.
const CYCLES: usize = 50;

/// Cycles of each kind before the measurement. After them the embedded broker's log has its final size, and executors,
/// librdkafka and the C library have what they keep.
const WARM_UP: usize = 8;

/// A producer of this size takes megabytes, so a single leaked one shows.
const SLOTS: usize = 4_096;

const PAYLOAD: usize = 8 << 10;

/// Bytes by which Rust's heap may grow in 100 cycles: 20 a cycle, less than any leak. Without one it is 0.
const HEAP_GROWTH: usize = 2_000;

/// KiB by which the process may grow in 100 cycles: 160 a cycle. This includes librdkafka's memory, which Rust's allocator does
/// not count. The C library keeps some 4,000 more or less from one look to the next, and the broker in this process keeps up
/// to 5,000 of the records, more on a slow machine.
const RSS_GROWTH: usize = 16_000;

/// Reached only if something does not end.
const SETTLE_LIMIT: Duration = Duration::from_secs(40);

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Possessions {
    threads: usize,
    descriptors: usize,
    heap: usize,
    rss_kib: usize,
}

impl Possessions {
    fn now() -> Self {
        let heap = ALLOCATOR.stats();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Self {
            threads: threads(&[""]).len(),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            heap: heap.bytes_allocated.saturating_sub(heap.bytes_deallocated),
            rss_kib: rss.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default(),
        }
    }

    /// Waits until the process holds this much again, and at most `heap` bytes of Rust's heap. Threads may take a moment to end.
    async fn settle(self, host: &Host, heap: usize) -> Self {
        still_waiting();
        let start = Instant::now();
        loop {
            let now = Self::now();
            if (now.threads, now.descriptors) == (self.threads, self.descriptors) && now.heap <= heap {
                return now;
            }
            assert!(
                start.elapsed() < SETTLE_LIMIT,
                "there is {now:?}, and there was {self:?} with a heap of {heap} at most"
            );
            host.pause(Duration::from_millis(1)).await;
        }
    }
}

fn record(n: usize) -> Record<'static> {
    Record::to("t").key(n.to_string()).payload(vec![b'x'; PAYLOAD])
}

/// Without idempotence: librdkafka asks for a producer id each half second, for which 400 cycles would mostly wait.
fn backend(broker: &EmbeddedBroker) -> Librdkafka {
    let mut config = broker::config(broker);
    config.set("enable.idempotence", "false");
    Librdkafka::new(config)
}

/// Tasks produce until they are refused, while the producer is closed.
async fn start_and_close(host: &Host, broker: &EmbeddedBroker) {
    let producer = host.start(AioProducer::builder(backend(broker)).slots(SLOTS));
    let tasks = [0, 1, 2].map(|_| {
        let producer = producer.clone();
        host.spawn(async move {
            let mut deliveries = Vec::new();
            loop {
                match producer.produce(record(deliveries.len())).await {
                    Ok(delivery) => deliveries.push(delivery),
                    Err(ProduceError::Closed(_)) => break,
                    Err(error) => panic!("{error}"),
                }
                smol::future::yield_now().await;
            }
            for delivery in deliveries {
                delivery.await.expect("accepted before the close");
            }
        })
    });
    host.until(|| producer.statistics().acquired >= 50).await;
    assert!(producer.close(LONG).await.is_complete());
    for task in tasks {
        task.join().await;
    }
}

/// The last handle is dropped while records are buffered, queued and in flight.
async fn start_and_drop(host: &Host, broker: &EmbeddedBroker) {
    let producer = host.start(AioProducer::builder(backend(broker)).slots(SLOTS));
    producer.send(record(0)).await.expect("delivered");
    let deliveries: Vec<_> = (0..50).map(|n| at_once(producer.produce(record(n))).expect("room")).collect();
    drop(producer);
    for delivery in deliveries {
        // In the log or not, each has an outcome.
        drop(delivery.await);
    }
}

fn on<E: Executor>(broker: &EmbeddedBroker) {
    let executor = E::new();
    let host = executor.host();
    executor.block_on(async {
        // After this an executor has started its threads.
        host.spawn(ready(())).join().await;
        host.pause(Duration::from_millis(1)).await;
        let start = Possessions::now();
        let (mut before, mut heap, mut rss_kib) = (start, usize::MAX, 0);
        for cycle in 0..WARM_UP {
            start_and_close(&host, broker).await;
            start_and_drop(&host, broker).await;
            // A producer's memory may be freed a moment after its threads end, so the smallest value counts.
            before = start.settle(&host, usize::MAX).await;
            if cycle >= WARM_UP / 2 {
                heap = heap.min(before.heap);
                rss_kib = rss_kib.max(before.rss_kib);
            }
        }
        for _ in 0..CYCLES {
            start_and_close(&host, broker).await;
            before.settle(&host, usize::MAX).await;
            start_and_drop(&host, broker).await;
            before.settle(&host, usize::MAX).await;
        }
        let after = before.settle(&host, heap + HEAP_GROWTH).await;
        assert!(after.rss_kib <= rss_kib + RSS_GROWTH, "there is {after:?}, and there were {rss_kib} KiB at most");
    });
}

#[test]
fn s26_cycles_under_load_leave_no_thread_no_descriptor_and_no_memory() {
    watched(|| {
        let broker = broker::start_with_topic("t", 1);
        on::<TokioMulti>(&broker);
        on::<TokioCurrent>(&broker);
        on::<SmolGlobal>(&broker);
        on::<OwnExecutor>(&broker);
    });
}
