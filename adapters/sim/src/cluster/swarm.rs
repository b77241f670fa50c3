//! Faults that a seed draws.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aioproducer_core::backend::ErrorCode;

use super::fate::{Fate, Target};
use crate::rng::Rng;
use crate::sync::Arc;

/// A kind of fault that [`check`](crate::check) may draw.
///
/// ```
/// # use aioproducer_sim::FaultKind;
/// assert_eq!(FaultKind::AnswerLost.to_string(), "answer lost");
/// assert_eq!(FaultKind::all().count(), 7);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A request is carried out, and its answer is lost.
    AnswerLost,
    /// A request is lost.
    RequestLost,
    /// A broker answers with an error that passes.
    ErrorAnswer,
    /// A request takes longer.
    Delay,
    /// A broker stops, and comes back.
    BrokerStop,
    /// A broker reads nothing for a while.
    BrokerPause,
    /// A leader moves to another broker.
    LeaderMove,
}

impl FaultKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::AnswerLost,
            Self::RequestLost,
            Self::ErrorAnswer,
            Self::Delay,
            Self::BrokerStop,
            Self::BrokerPause,
            Self::LeaderMove,
        ]
        .into_iter()
    }

    /// Its own sequence of random numbers: what one kind draws does not depend on which others there are.
    pub(crate) fn rng(self, seed: u64) -> Rng {
        Rng::new(Rng::new(seed ^ ((self as u64 + 1) << 48)).next())
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnswerLost => "answer lost",
            Self::RequestLost => "request lost",
            Self::ErrorAnswer => "error answer",
            Self::Delay => "delay",
            Self::BrokerStop => "broker stop",
            Self::BrokerPause => "broker pause",
            Self::LeaderMove => "leader move",
        })
    }
}

/// How often a kind is drawn, in 1000 requests: rarely, now and then, often.
const RATES: [u32; 3] = [10, 50, 200];

/// Errors that pass.
const PASSING: [ErrorCode; 4] = [
    ErrorCode::NotLeaderForPartition,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::NotEnoughReplicasAfterAppend,
    ErrorCode::RequestTimedOut,
];

/// Which of a run's faults happen, by their number in the order of their time: all, unless a failure is being reduced.
#[derive(Debug)]
pub(crate) struct Quota {
    allowed: Range<u64>,
    drawn: AtomicU64,
}

impl Quota {
    pub(crate) fn new(allowed: Range<u64>) -> Self {
        Self { allowed, drawn: AtomicU64::new(0) }
    }

    /// Counts a fault that the seed has drawn. Returns whether it happens.
    pub(crate) fn takes(&self) -> bool {
        self.allowed.contains(&self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    /// How many faults the seed has drawn.
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }
}
/// Errors of coordinators that pass.
const COORDINATORS: [ErrorCode; 4] = [
    ErrorCode::NotCoordinator,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::ConcurrentTransactions,
];

/// The faults of one run: which kinds there are and how often, as the seed says.
pub(crate) struct Swarm {
    kinds: Vec<(FaultKind, Rng, u32)>,
    quota: Arc<Quota>,
}

impl Swarm {
    /// Draws from the kinds that are allowed; each is there in half of the runs.
    pub(crate) fn new(seed: u64, allowed: &BTreeSet<FaultKind>, quota: Arc<Quota>) -> Self {
        let draw = |kind: FaultKind| {
            let mut rng = kind.rng(seed);
            let is_there = rng.below(2) == 0;
            let rate = RATES[rng.below(RATES.len() as u64) as usize];
            is_there.then_some((kind, rng, rate))
        };
        Self { kinds: allowed.iter().copied().filter_map(draw).collect(), quota }
    }

    /// The kinds that are there, each with its random numbers and its rate.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (FaultKind, Rng, u32)> {
        self.kinds.iter().cloned()
    }

    /// The fate of a request.
    pub(crate) fn fate(&mut self, target: &Target) -> Fate {
        let mut drawn = Fate::Normal;
        let passing = if matches!(target, Target::Partition(..)) { PASSING } else { COORDINATORS };
        // Each kind draws for each request, so that the kinds do not depend on each other.
        for (kind, rng, rate) in &mut self.kinds {
            let (is_hit, size) = (rng.below(1000) < u64::from(*rate), rng.next());
            let fate = match kind {
                FaultKind::AnswerLost => Fate::LoseAnswer,
                FaultKind::RequestLost => Fate::LoseRequest,
                FaultKind::ErrorAnswer => Fate::Answer(passing[(size % passing.len() as u64) as usize]),
                FaultKind::Delay => Fate::Delay(Duration::from_micros(size % 200_000)),
                FaultKind::BrokerStop | FaultKind::BrokerPause | FaultKind::LeaderMove => continue,
            };
            if is_hit && drawn == Fate::Normal && self.quota.takes() {
                drawn = fate;
            }
        }
        drawn
    }
}
