//! What the leader of a partition has and its other replicas do not have yet.

use std::time::Duration;

use aioproducer_core::Instant;

/// Batches that only the leader has. One with `acks=all` is answered when all replicas have it, and all before it.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    /// When the others will have the batch, and its first offset.
    ahead: Vec<(Instant, i64)>,
    /// When the leader stopped while no other replica was up, and which one it was.
    stopped: Option<(Instant, i32)>,
}

impl Replication {
    /// The leader appends a batch at `base`, and does not wait for the others.
    pub(crate) fn append(&mut self, now: Instant, lag: Duration, base: i64) {
        self.ahead.retain(|(at, _)| *at > now);
        self.ahead.push((now + lag, base));
    }

    /// All replicas have all.
    pub(crate) fn complete(&mut self) {
        self.ahead.clear();
    }

    /// The leader stops, and no other replica is up.
    pub(crate) fn stop(&mut self, now: Instant, leader: i32) {
        self.stopped = Some((now, leader));
    }

    /// Another replica leads, or one after none did. Returns the offset from which on the log is lost, if it is.
    pub(crate) fn lead(&mut self, now: Instant, leader: i32) -> Option<i64> {
        let (until, is_same) = self.stopped.take().map_or((now, false), |(at, before)| (at, before == leader));
        // What it has of its own it keeps, and the others get it now.
        let lost = self.ahead.iter().find(|(at, _)| !is_same && *at > until).map(|(_, base)| *base);
        self.ahead.clear();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::after_origin(Duration::from_millis(ms))
    }

    fn ahead() -> Replication {
        let mut replication = Replication::default();
        replication.append(at(0), Duration::from_millis(5), 0);
        replication.append(at(3), Duration::from_millis(5), 7);
        replication
    }

    #[test]
    fn what_the_others_do_not_have_is_lost_with_the_leader() {
        assert_eq!([4, 5, 7, 8].map(|ms| ahead().lead(at(ms), 2)), [Some(0), Some(7), Some(7), None]);
        let mut all = ahead();
        all.complete();
        assert_eq!(all.lead(at(4), 2), None);
    }

    #[test]
    fn a_leader_that_comes_back_has_what_it_had() {
        for (leader, lost) in [(1, None), (2, Some(7))] {
            let mut stopped = ahead();
            stopped.stop(at(6), 1);
            assert_eq!(stopped.lead(at(100), leader), lost);
        }
    }
}
