//! S25, S26: hundreds of producers, started and ended under load, leave nothing behind: no thread, no file descriptor, no
//! memory.
//!
//! One test, since it counts what the whole process has.

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

/// Cycles of each kind before anything is measured. By then the embedded broker's log has the size that it keeps, and
/// executors, librdkafka and the C library have what they keep.
const WARM_UP: usize = 8;

/// A producer of this size takes megabytes, so that one that was kept shows at once.
const SLOTS: usize = 4_096;

const PAYLOAD: usize = 8 << 10;

/// Bytes that Rust code may hold more after 100 cycles than before: 20 in a cycle, less than anything that could be left
/// behind. It is 0 when all is well.
const HEAP_GROWTH: usize = 2_000;

/// What the process may grow by in 100 cycles, in KiB: 160 in a cycle. Rust's allocator does not count what librdkafka
/// has; the C library keeps memory of its own accord, some 4,000 more or less from one look to the next; and the broker, which
/// is in this process, keeps up to 5,000 of what is produced, which is more on a slow machine.
const RSS_GROWTH: usize = 16_000;

/// Nothing takes that long to end; it is only reached when something does not.
const SETTLE_LIMIT: Duration = Duration::from_secs(40);

/// What this process has.
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

    /// Waits until this is what there is, and up to `heap` bytes of Rust's memory. Threads and what they hold end by
    /// themselves, which may take a moment.
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

/// Without idempotence: librdkafka asks for a producer id every half second, which 400 cycles would mostly wait for.
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
        // Threads that an executor starts once are there after this.
        host.spawn(ready(())).join().await;
        host.pause(Duration::from_millis(1)).await;
        let start = Possessions::now();
        let (mut before, mut heap, mut rss_kib) = (start, usize::MAX, 0);
        for cycle in 0..WARM_UP {
            start_and_close(&host, broker).await;
            start_and_drop(&host, broker).await;
            // A producer's memory may go a moment after its threads: the least that was seen is without it.
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
