//! Collects what says whether records are delivered, for [`AioProducer::health`](crate::AioProducer::health) and for metrics.

use std::time::Duration;

use aioproducer_core::Instant;

use super::effects::Effects;
use super::shared::{Shared, State};
use crate::observe::health::{Counts, Health};

/// Lanes that are looked at while the lock is held.
const LANES: usize = 256;

/// How often metrics get it, while there are records.
const PERIOD: Duration = Duration::from_secs(1);

/// When metrics get it next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// There are no records.
    Never,
    /// There are records, and the driver has no time for it yet.
    Wanted,
    At(Instant),
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        let backend = self.backend();
        let loads = backend.map(|backend| backend.loads()).unwrap_or_default();
        let counts_connections = backend.and_then(|backend| backend.connections()).is_some();
        let now = self.runtime.now();
        let (is_connected, oldest) = self.with(|state, _| (state.machine.is_connected(), state.machine.oldest()));
        let mut counts = Counts::new(now, counts_connections.then_some(is_connected), oldest);
        loads.iter().for_each(|load| counts.add_load(load));
        let mut lanes = Vec::new();
        let mut from = 0;
        loop {
            let known = self.with(|state, _| {
                let known = state.machine.known_lanes();
                lanes.extend(state.machine.lane_stats(from..known.min(from + LANES)));
                known
            });
            lanes.drain(..).for_each(|lane| counts.add_lane(&lane));
            from += LANES;
            if from >= known {
                return counts.finish();
            }
        }
    }

    /// Reports the health as metrics, if that is due.
    pub(super) fn sample_health(&self) {
        if cfg!(feature = "metrics") && self.lock().takes_sample(self.runtime.now()) {
            self.observer.health(&self.health(), &self.panics);
        }
    }
}

impl State {
    /// The first record is there: has the driver arm its timer.
    #[inline]
    pub(super) fn want_sample(&mut self, effects: &mut Effects) {
        if cfg!(feature = "metrics") && self.sample == Sample::Never && self.machine.held() > 0 {
            self.sample = Sample::Wanted;
            effects.wakers.extend(self.driver.take());
        }
    }

    /// When the next sample is due.
    pub(super) fn sample_due(&mut self, now: Instant) -> Instant {
        match self.sample {
            Sample::Never => Instant::MAX,
            Sample::Wanted => {
                self.sample = Sample::At(now + PERIOD);
                now + PERIOD
            }
            Sample::At(at) => at,
        }
    }

    /// Whether a sample is due. The last one comes after the last record.
    fn takes_sample(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.sample, Sample::At(at) if at <= now);
        if is_due {
            self.sample = if self.machine.held() > 0 { Sample::At(now + PERIOD) } else { Sample::Never };
        }
        is_due
    }
}
