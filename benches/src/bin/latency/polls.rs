//! How long polls take: the CPU time of the polling thread, which the scheduler does not blur, and the wall time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aioproducer_benches::broker::Failure;
use aioproducer_tokio::{ClockHold, Runtime, RuntimeError, Task, Tokio};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::ClockId;
use serde::{Deserialize, Serialize};

/// What is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// `AioProducer::produce`.
    Produce,
    /// A `Delivery`.
    Delivery,
    /// `AioProducer::send`.
    Send,
    /// `AioProducer::produce_all`.
    ProduceAll,
    /// `AioProducer::flush`.
    Flush,
    /// `AioProducer::close`.
    Close,
    /// The driver's task.
    Driver,
    /// Not this project's: wakes a thread, as a hand-off does. Its maximum shows the machine's own delays.
    Control,
}

/// The times of all polls, by kind, in ns.
pub(crate) struct Polls {
    kinds: Vec<Mutex<Times>>,
    /// The time between two readings of the clock with nothing in between.
    reading: Duration,
}

struct Times {
    cpu: Histogram<u64>,
    /// Of polls in which the kernel had no page to provide.
    resident: Histogram<u64>,
    wall: Histogram<u64>,
}

/// A kind's polls: times in µs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Polled {
    pub(crate) kind: Kind,
    pub(crate) polls: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p9999: f64,
    pub(crate) max: f64,
    /// The 99.99th percentile of those polls in which the kernel had no page to provide: where a host backs the memory of a
    /// virtual machine, providing one may take longer than everything else.
    pub(crate) p9999_resident: f64,
    /// The longest on the wall's clock, the times among them when the thread did not run.
    pub(crate) max_wall: f64,
}

impl Polls {
    pub(crate) fn new() -> Result<Self, Failure> {
        // From 1 ns to 10 s.
        let histogram = || Histogram::new_with_bounds(1, 10_000_000_000, 3);
        let times = |_| Ok(Mutex::new(Times { cpu: histogram()?, resident: histogram()?, wall: histogram()? }));
        let kinds = (0..Kind::value_variants().len()).map(times).collect::<Result<_, Failure>>()?;
        let apart = || {
            let first = thread_time();
            thread_time().saturating_sub(first)
        };
        Ok(Self { kinds, reading: (0..1000).map(|_| apart()).min().unwrap_or_default() })
    }

    /// Runs `future`, and records the time of each of its polls.
    pub(crate) async fn watch<F: Future>(&self, kind: Kind, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let faults = faults();
            let wall = Instant::now();
            let cpu = thread_time();
            let polled = future.as_mut().poll(cx);
            let cpu = thread_time().saturating_sub(cpu).saturating_sub(self.reading);
            let wall = wall.elapsed();
            self.record(kind, cpu, faults == self::faults(), wall);
            polled
        })
        .await
    }

    fn record(&self, kind: Kind, cpu: Duration, resident: bool, wall: Duration) {
        let mut times = self.kinds[kind as usize].lock().unwrap_or_else(PoisonError::into_inner);
        times.cpu.saturating_record(cpu.as_nanos() as u64);
        if resident {
            times.resident.saturating_record(cpu.as_nanos() as u64);
        }
        times.wall.saturating_record(wall.as_nanos() as u64);
    }

    /// The results of all polls.
    pub(crate) fn summary(&self) -> Vec<Polled> {
        let summary = |(kind, times): (&Kind, &Mutex<Times>)| {
            let times = times.lock().unwrap_or_else(PoisonError::into_inner);
            let at = |quantile| times.cpu.value_at_quantile(quantile) as f64 / 1e3;
            Polled {
                kind: *kind,
                polls: times.cpu.len(),
                p50: at(0.5),
                p99: at(0.99),
                p9999: at(0.9999),
                max: at(1.0),
                p9999_resident: times.resident.value_at_quantile(0.9999) as f64 / 1e3,
                max_wall: times.wall.max() as f64 / 1e3,
            }
        };
        Kind::value_variants().iter().zip(&self.kinds).map(summary).collect()
    }
}

/// Pages that the kernel had to provide for this thread.
fn faults() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.minor_page_faults())
}

/// How long this thread has run.
fn thread_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

/// tokio that measures the polls of the driver's task.
pub(crate) struct WatchedTokio {
    pub(crate) tokio: Tokio,
    pub(crate) polls: Arc<Polls>,
}

impl Runtime for WatchedTokio {
    fn now(&self) -> aioproducer_tokio::Instant {
        self.tokio.now()
    }

    fn sleep_until(&self, at: aioproducer_tokio::Instant) -> Task {
        self.tokio.sleep_until(at)
    }

    fn spawn(&self, task: Task) {
        let polls = Arc::clone(&self.polls);
        self.tokio.spawn(Box::pin(async move { polls.watch(Kind::Driver, task).await }));
    }

    fn check(&self) -> Result<(), RuntimeError> {
        self.tokio.check()
    }

    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        self.tokio.poll_budget(cx)
    }

    fn can_pause(&self) -> bool {
        self.tokio.can_pause()
    }

    fn hold_clock(&self, at_most: Duration) -> Option<ClockHold> {
        self.tokio.hold_clock(at_most)
    }
}
