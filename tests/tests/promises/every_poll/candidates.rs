//! The futures that the tests drop.

use std::future::Future;
use std::pin::Pin;

use aioproducer_driver::{AioProducer, Record};

use super::{LONG, SLOTS};

pub(super) type Step = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A candidate's future, prepared and not polled yet.
pub(super) struct Begun(pub(super) Step);

pub(super) type Begin = Pin<Box<dyn Future<Output = Begun> + Send>>;

/// Which records of one call are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of them.
    All,
    /// The first few of them, or none, or all.
    Prefix,
    /// None of them.
    None,
}

/// A public future.
pub(super) struct Candidate {
    pub(super) name: &'static str,
    /// The number of records that it needs.
    pub(super) records: usize,
    /// Which of them are in the log if it is dropped while pending.
    pub(super) when_dropped: Fate,
    /// Prepares the call and returns its future.
    pub(super) begin: fn(AioProducer, Vec<Record<'static>>) -> Begin,
}

/// Every public future except close, which ends the producer.
pub(super) const CANDIDATES: [Candidate; 12] = [
    Candidate {
        name: "produce",
        records: 1,
        when_dropped: Fate::None,
        begin: |producer, mut records| {
            now(async move {
                let record = records.remove(0);
                drop(producer.produce(record).await.expect("accepted"));
            })
        },
    },
    Candidate {
        name: "send",
        records: 1,
        when_dropped: Fate::Prefix,
        begin: |producer, mut records| {
            now(async move {
                let record = records.remove(0);
                producer.send(record).await.expect("delivered");
            })
        },
    },
    Candidate {
        name: "Delivery",
        records: 1,
        when_dropped: Fate::All,
        begin: |producer, mut records| {
            Box::pin(async move {
                let delivery = producer.produce(records.remove(0)).await.expect("accepted");
                begun(async move { drop(delivery.await.expect("delivered")) })
            })
        },
    },
    Candidate {
        name: "produce_with",
        records: 1,
        when_dropped: Fate::None,
        begin: |producer, mut records| {
            now(async move {
                let record = records.remove(0);
                producer.produce_with(record, |outcome| drop(outcome.expect("delivered"))).await.expect("accepted");
            })
        },
    },
    Candidate {
        name: "produce_with_async",
        records: 1,
        when_dropped: Fate::None,
        begin: |producer, mut records| {
            now(async move {
                let record = records.remove(0);
                let callback = async |outcome: Result<_, _>| drop(outcome.expect("delivered"));
                producer.produce_with_async(record, callback).await.expect("accepted");
            })
        },
    },
    Candidate {
        name: "Reporter::produce",
        records: 1,
        when_dropped: Fate::None,
        begin: |producer, mut records| {
            now(async move {
                let (reporter, _reports) = producer.reports(1);
                reporter.produce(records.remove(0), ()).await.expect("accepted");
            })
        },
    },
    Candidate {
        name: "Reports::next",
        records: 1,
        when_dropped: Fate::All,
        begin: |producer, mut records| {
            Box::pin(async move {
                let (reporter, mut reports) = producer.reports(1);
                reporter.produce(records.remove(0), ()).await.expect("accepted");
                begun(async move { drop(reports.next().await.expect("one").1.expect("delivered")) })
            })
        },
    },
    Candidate {
        name: "flush().topic",
        records: 1,
        when_dropped: Fate::All,
        begin: |producer, mut records| {
            Box::pin(async move {
                let record = records.remove(0);
                let topic = record.topic().to_owned();
                drop(producer.produce(record).await.expect("accepted"));
                begun(async move { producer.flush().topic(topic).await.expect("flushed") })
            })
        },
    },
    Candidate {
        name: "produce_all",
        records: 5 * SLOTS,
        when_dropped: Fate::Prefix,
        begin: |producer, records| {
            now(async move {
                for outcome in producer.produce_all(records).await {
                    outcome.expect("delivered");
                }
            })
        },
    },
    Candidate {
        name: "flush",
        records: 1,
        when_dropped: Fate::All,
        begin: |producer, mut records| {
            Box::pin(async move {
                drop(producer.produce(records.remove(0)).await.expect("accepted"));
                begun(async move { producer.flush().await.expect("flushed") })
            })
        },
    },
    Candidate {
        name: "flush().callbacks",
        records: 1,
        when_dropped: Fate::All,
        begin: |producer, mut records| {
            Box::pin(async move {
                producer.produce_with(records.remove(0), |_| ()).await.expect("accepted");
                begun(async move { producer.flush().callbacks().await.expect("flushed") })
            })
        },
    },
    Candidate {
        name: "flush().within",
        records: 1,
        when_dropped: Fate::All,
        begin: |producer, mut records| {
            Box::pin(async move {
                drop(producer.produce(records.remove(0)).await.expect("accepted"));
                begun(async move { producer.flush().within(LONG).await.expect("flushed") })
            })
        },
    },
];

pub(super) fn begun(future: impl Future<Output = ()> + Send + 'static) -> Begun {
    Begun(Box::pin(future))
}

pub(super) fn now(future: impl Future<Output = ()> + Send + 'static) -> Begin {
    Box::pin(std::future::ready(begun(future)))
}
