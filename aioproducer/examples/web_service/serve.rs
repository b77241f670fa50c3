//! The service from its begin to its end, over whatever brings connections.

use std::fmt::Debug;
use std::future::{Future, IntoFuture};
use std::time::Duration;

use aioproducer::AioProducer;
use aioproducer::producer::CloseReport;
use axum::serve::Listener;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How long the parts of the end may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Requests that are being served.
    pub(crate) drain: Duration,
    /// The producer.
    pub(crate) close: Duration,
}

/// How long an answer to a request that was cut off may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until `stop`, then lets requests end, then the producer.
pub(crate) async fn serve<L: Listener<Addr: Debug>>(
    listener: L,
    producer: AioProducer,
    stop: impl Future<Output = ()>,
    limits: Limits,
) -> anyhow::Result<CloseReport> {
    let (stopping, stopped) = oneshot::channel::<()>();
    let (cut, is_cut) = watch::channel(());
    let server = axum::serve(listener, crate::routes::routes(producer.clone(), is_cut))
        .with_graceful_shutdown(async { drop(stopped.await) })
        .into_future();
    let mut server = tokio::spawn(server);

    stop.await;
    drop(stopping);
    // A request that was begun is to be served to its end, and may not have produced its record yet: a producer that
    // closed now would refuse it.
    let drained = timeout(limits.drain, &mut server).await;
    let report = producer.close(limits.close).await;
    match drained {
        Ok(ended) => ended??,
        Err(_) => {
            // What was produced in time has its outcome by the close. The rest gets an answer if its client reads it.
            drop(cut);
            if timeout(LAST_WORDS, &mut server).await.is_err() {
                server.abort();
            }
        }
    }
    Ok(report)
}
