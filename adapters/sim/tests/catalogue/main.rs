//! The promises that a simulation can show, each over many seeds: one file for each theme.
//!
//! `checks/planted.sh` breaks the producer and the cluster on purpose, and these tests have to find it.

mod availability;
mod batching;
mod book;
mod callbacks;
mod close;
mod drops;
mod fencing;
mod flush;
mod order;
mod outcomes;
mod produce;
mod purge;
mod queue;
mod reports;
mod retract;
mod room;
mod timeout;
mod transactions;
mod variant;

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aioproducer_driver::{AioProducer, Builder, Record};
use aioproducer_sim::{Case, Plan, SimBackend};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How long a swarm has faults.
const FAULTS: Duration = Duration::from_secs(2);

/// The way to a broker and back.
const TRIP: Duration = Duration::from_millis(2);

/// Faults of all kinds, a topic `t` with 3 partitions.
fn swarm() -> Plan {
    Plan::swarm().topic("t", 3).faults_for(FAULTS).seeds(0..40)
}

/// No faults, a topic `t` with one partition.
fn calm() -> Plan {
    Plan::calm().topic("t", 1).seeds(0..20)
}

fn builder(case: &Case) -> Builder<SimBackend> {
    AioProducer::builder(case.cluster().backend()).delivery_timeout(Duration::from_secs(120))
}

fn record(payload: impl ToString) -> Record<'static> {
    Record::to("t").payload(payload.to_string())
}

/// Polls a future at most so many times, then drops it.
async fn polled<F: Future>(future: F, times: u64) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Waits for a future, but no longer than `limit`.
async fn within<F: Future>(case: &Case, limit: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), pin!(case.sim().sleep(limit)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// What a future says now.
fn now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
