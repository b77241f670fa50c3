//! One measurement, in a process of its own: none inherits memory, threads or connections of another.

use std::collections::VecDeque;
use std::future::Future;

use aioproducer_benches::broker::Failure;
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::usage::{Measured, Usage};

use crate::case::{Case, Row, Runtime};
use crate::{ours, peers};

/// The inputs of a measurement.
pub(crate) struct Setting<'a> {
    pub(crate) case: Case,
    pub(crate) servers: &'a str,
    pub(crate) payloads: Payloads,
}

/// Measures `case` in this process.
pub(crate) fn measure(case: Case, servers: &str) -> Result<Measured, Failure> {
    let setting = Setting { case, servers, payloads: Payloads::new() };
    match (case.row, case.runtime) {
        (Row::Base, _) => peers::base(setting),
        (Row::Threaded, _) => peers::threaded(setting),
        (row, Runtime::Smol) if row.is_ours() => smol::block_on(ours::run(setting)),
        (row, Runtime::Tokio) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let work = async { if row.is_ours() { ours::run(setting).await } else { peers::future(setting).await } };
            runtime.block_on(work)
        }
        (row, runtime) => Err(format!("{} is not measured here on {runtime:?}", row.name()).into()),
    }
}

/// Runs `work` twice, to warm up and to measure. It takes the number of records to send and returns how many failed.
pub(crate) async fn twice(
    case: Case,
    mut work: impl AsyncFnMut(usize) -> Result<u64, Failure>,
) -> Result<Measured, Failure> {
    let mut failed = work(case.warm_up()).await?;
    let usage = Usage::begin()?;
    failed += work(case.records()).await?;
    usage.end(case.records() as u64, case.warm_up() as u64, failed)
}

/// Sends `records` records and awaits each one's outcome, with up to `window` of them under way. Returns how many
/// failed.
pub(crate) async fn pipelined<D: Future>(
    records: usize,
    window: usize,
    mut produce: impl AsyncFnMut() -> Result<D, Failure>,
    delivered: impl Fn(D::Output) -> bool,
) -> Result<u64, Failure> {
    let mut deliveries = VecDeque::with_capacity(window);
    let mut failed = 0;
    for _ in 0..records {
        if deliveries.len() == window
            && let Some(oldest) = deliveries.pop_front()
        {
            failed += u64::from(!delivered(oldest.await));
        }
        deliveries.push_back(produce().await?);
    }
    for delivery in deliveries {
        failed += u64::from(!delivered(delivery.await));
    }
    Ok(failed)
}

/// Tasks that each wait for their own records.
pub(crate) const TASKS: usize = 1000;

/// Runs one task for each of `futures` and adds up what they return.
pub(crate) async fn tasks<F>(runtime: Runtime, futures: impl Iterator<Item = F>) -> Result<u64, Failure>
where
    F: Future<Output = u64> + Send + 'static,
{
    let mut sum = 0;
    if runtime == Runtime::Smol {
        let tasks: Vec<_> = futures.map(smol::spawn).collect();
        for task in tasks {
            sum += task.await;
        }
    } else {
        let tasks: Vec<_> = futures.map(tokio::spawn).collect();
        for task in tasks {
            sum += task.await?;
        }
    }
    Ok(sum)
}
