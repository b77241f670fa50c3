//! The pipeline: many records on their way, each with a future of its own.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hdrhistogram::Histogram;
use indicatif::{HumanCount, ProgressBar};

use super::place::Place;
use super::text::Text;
use crate::aio::{AioProducer, DeliveryError, DeliveryReport, Record};

/// What became of the lines.
pub(crate) struct Sent {
    /// Partition and offset of each line.
    pub(crate) places: Vec<(i32, i64)>,
    /// What the first line took, with which the producer connected.
    first: Duration,
    /// From produce to delivery, in microseconds, of the others.
    latency: Histogram<u64>,
    /// What the others took together.
    elapsed: Duration,
}

/// The outcome of one line.
struct Outcome {
    line: usize,
    result: Result<DeliveryReport, DeliveryError>,
    latency: Duration,
}

/// Sends every line and waits for every delivery. The first failure ends it.
pub(crate) async fn send(producer: &AioProducer, text: &Text, place: &Place, limit: usize) -> anyhow::Result<Sent> {
    let topic = producer.topic(&place.topic)?;
    let bar = super::progress_bar("sending", text.lines.len());
    let mut sent = Sent {
        places: vec![(-1, -1); text.lines.len()],
        first: Duration::ZERO,
        latency: Histogram::new_with_bounds(1, 3_600_000_000, 3)?,
        elapsed: Duration::ZERO,
    };
    // Cloning the payload shares it. The partition may be left to the producer; here it is round robin, so that the
    // embedded broker's partitions fill evenly.
    let record = |line, payload: &Bytes| Record::to(&topic).payload(payload.clone()).partition(place.partition(line));
    let mut lines = text.lines.iter().enumerate();

    // The first one waits for connections, of which the others' figures are to tell nothing.
    if let Some((line, payload)) = lines.next() {
        let begin = Instant::now();
        let report = producer.send(record(line, payload)).await.with_context(|| describe(line, text))?;
        sent.places[line] = (report.partition(), report.offset().unwrap_or(-1));
        sent.first = begin.elapsed();
        bar.inc(1);
    }

    let mut in_flight = FuturesUnordered::new();
    let begin = Instant::now();
    for (line, payload) in lines {
        // Takes what has arrived, and waits only when enough is on its way.
        while let Some(outcome) = match in_flight.len() < limit {
            true => in_flight.next().now_or_never().flatten(),
            false => in_flight.next().await,
        } {
            sent.add(outcome, text, &bar)?;
        }

        let start = Instant::now();
        let delivery = producer.produce(record(line, payload)).await.with_context(|| describe(line, text))?;
        in_flight.push(async move {
            let result = delivery.await;
            Outcome { line, result, latency: start.elapsed() }
        });
    }
    while let Some(outcome) = in_flight.next().await {
        sent.add(outcome, text, &bar)?;
    }

    sent.elapsed = begin.elapsed();
    bar.finish();
    Ok(sent)
}

impl Sent {
    fn add(&mut self, outcome: Outcome, text: &Text, bar: &ProgressBar) -> anyhow::Result<()> {
        let report = outcome.result.with_context(|| describe(outcome.line, text))?;
        self.places[outcome.line] = (report.partition(), report.offset().unwrap_or(-1));
        self.latency.saturating_record(u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX));
        bar.inc(1);
        Ok(())
    }

    pub(crate) fn print(&self) {
        if !self.places.is_empty() {
            println!("delivered the first record in {:.1?}, connecting included", self.first);
        }
        if !self.latency.is_empty() {
            let (count, elapsed) = (self.latency.len(), self.elapsed);
            let rate = HumanCount((count as f64 / elapsed.as_secs_f64()) as u64);
            println!("delivered {} more in {elapsed:.1?}: {rate} records/s", HumanCount(count));
            let at = |quantile| HumanCount(self.latency.value_at_quantile(quantile));
            let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), HumanCount(self.latency.max()));
            println!("latency from produce to delivery, in µs: p50 {p50}, p90 {p90}, p99 {p99}, max {max}");
        }
    }
}

fn describe(line: usize, text: &Text) -> String {
    format!("{}, line {}", text.name, line + 1)
}
