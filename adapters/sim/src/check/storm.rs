//! Faults of brokers and leaders, which come by themselves.

use std::time::Duration;

use crate::api::SimCluster;
use crate::cluster::{FaultKind, Quota};
use crate::executor::Sim;
use crate::rng::Rng;
use crate::sync::Arc;

/// A time between `unit` and 2,048 times that; short ones are as likely as long ones.
fn time(rng: &mut Rng, unit: Duration) -> Duration {
    unit * (1 << rng.below(12)) as u32
}

/// One kind of fault that hits a cluster again and again, the more often the higher its rate.
pub(super) struct Storm {
    pub(super) kind: FaultKind,
    pub(super) rng: Rng,
    pub(super) rate: u32,
    pub(super) quota: Arc<Quota>,
}

impl Storm {
    /// It goes on until `end`.
    pub(super) async fn rage(mut self, sim: Sim, cluster: SimCluster, end: Duration) {
        let (partitions, rng) = (cluster.partitions(), &mut self.rng);
        let unit = Duration::from_micros(u64::from(20_000 / self.rate));
        loop {
            sim.sleep(time(rng, unit)).await;
            if sim.elapsed() >= end {
                return;
            }
            let broker = rng.below(cluster.brokers() as u64) as i32 + 1;
            let (duration, place) = (time(rng, Duration::from_millis(1)), rng.next() as usize);
            if !self.quota.takes() {
                continue;
            }
            match self.kind {
                FaultKind::BrokerStop => cluster.broker(broker).stop_for(duration),
                FaultKind::BrokerPause => cluster.broker(broker).pause(duration),
                FaultKind::LeaderMove if !partitions.is_empty() && cluster.broker(broker).is_up() => {
                    let (topic, partition) = &partitions[place % partitions.len()];
                    cluster.leader_of(topic, *partition).move_to(broker);
                }
                _ => {}
            }
        }
    }
}
