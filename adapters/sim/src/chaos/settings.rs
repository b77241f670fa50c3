//! What kinds of chaos there are, and how much of each.

use std::time::Duration;

use super::dice::{AllDice, Dice};

/// Chaos around a backend, drawn by a seed: hand-offs that are delayed, queues that are full, records that are rejected, reports that
/// are late. It is for tests of an application against any backend, librdkafka included, and is off unless it is asked for.
///
/// It does nothing that a backend may not do. Nothing is lost, doubled or reordered by it: a refused record is handed off again before
/// later ones of its partition, a rejected one fails as not persisted and is not sent, and a late report is the backend's own.
///
/// The seed's draws are in the order of what passes. On an executor whose order is the seed's ([`Sim`](crate::Sim)) a run is repeated by
/// its seed. A backend with threads of its own has another order in each run.
///
/// ```
/// use std::time::Duration;
///
/// use aioproducer_driver::{AioProducer, Record};
/// use aioproducer_sim::{Chaos, Sim, SimCluster};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new().with_topic("orders", 3);
///     let chaos = Chaos::seeded(7).delays(500, Duration::from_secs(1)).rejections(0).around(kafka.backend());
///     let counts = chaos.counts();
///     let producer = AioProducer::builder(chaos).start(sim).unwrap();
///     for n in 0..20 {
///         producer.send(Record::to("orders").payload(n.to_string())).await.unwrap();
///     }
///     assert!(counts.delays() > 0);
///     assert_eq!(kafka.topic("orders").records().len(), 20);
/// });
/// ```
///
/// With librdkafka it is `AioProducer::builder(Chaos::seeded(7).around(Librdkafka::new(config)))`.
#[must_use = "it does nothing until it is put around a backend"]
#[derive(Clone, Debug)]
pub struct Chaos {
    seed: u64,
    delays: (u32, Duration),
    late_reports: (u32, Duration),
    full_queues: u32,
    rejections: u32,
}

/// The longest delay, unless it is set.
const AT_MOST: Duration = Duration::from_millis(50);

impl Chaos {
    /// Of 1000 hand-offs 100 are delayed, of 1000 reports 100 are late, by up to 50 ms each. Of 1000 batches 100 find the queue full, and
    /// of 1000 records 10 are rejected.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, delays: (100, AT_MOST), late_reports: (100, AT_MOST), full_queues: 100, rejections: 10 }
    }

    /// Of 1000 hand-offs so many wait, for `at_most`. The next one does not, so that some pass also if it is 1000.
    pub fn delays(mut self, per_mille: u32, at_most: Duration) -> Self {
        self.delays = (per_mille, at_most);
        self
    }

    /// Of 1000 times that the backend reports so many are late, by `at_most`. Later reports wait behind them.
    pub fn late_reports(mut self, per_mille: u32, at_most: Duration) -> Self {
        self.late_reports = (per_mille, at_most);
        self
    }

    /// Of 1000 batches so many find that the queue is full after some of their records. The rest waits in the producer. A batch of one
    /// record is handed off, as an empty queue has room for it.
    pub fn full_queues(mut self, per_mille: u32) -> Self {
        self.full_queues = per_mille;
        self
    }

    /// Of 1000 records so many fail before they are sent: with the status `NotPersisted` and the code `LocalQueueFull`.
    pub fn rejections(mut self, per_mille: u32) -> Self {
        self.rejections = per_mille;
        self
    }

    /// Those of each kind.
    pub(super) fn dice(&self) -> AllDice {
        let Self { seed, delays, late_reports, full_queues, rejections } = *self;
        AllDice {
            delays: Dice::new(seed, 1, delays.0, delays.1),
            late_reports: Dice::new(seed, 2, late_reports.0, late_reports.1),
            full_queues: Dice::new(seed, 3, full_queues, Duration::ZERO),
            rejections: Dice::new(seed, 4, rejections, Duration::ZERO),
        }
    }
}
