//! Faults of brokers and leaders, which come by themselves.

use std::time::Duration;

use crate::api::SimCluster;
use crate::cluster::FaultKind;
use crate::executor::Sim;
use crate::rng::Rng;

/// A time between `unit` and 2,048 times that; short ones are as likely as long ones.
fn time(rng: &mut Rng, unit: Duration) -> Duration {
    unit * (1 << rng.below(12)) as u32
}

/// One kind of fault hits the cluster again and again until `end`, the more often the higher its rate.
pub(super) async fn storm(sim: Sim, cluster: SimCluster, kind: FaultKind, mut rng: Rng, rate: u32, end: Duration) {
    let partitions = cluster.partitions();
    let unit = Duration::from_micros(u64::from(20_000 / rate));
    loop {
        sim.sleep(time(&mut rng, unit)).await;
        if sim.elapsed() >= end {
            return;
        }
        let broker = rng.below(cluster.brokers() as u64) as i32 + 1;
        let (duration, place) = (time(&mut rng, Duration::from_millis(1)), rng.next() as usize);
        match kind {
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
