//! Which records a flush is about, and how many of them are left.

use std::task::Waker;

use aioproducer_core::{FlushPoint, Lane, TopicId};

use crate::shared::State;

/// Records of a topic, or of one of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) topic: TopicId,
    pub(crate) partition: Option<i32>,
}

impl Scope {
    /// Whether records of `lane` belong to it. Those without a partition may go to any of their topic's.
    pub(crate) fn has(self, lane: Lane) -> bool {
        let partition = match (self.partition, lane.partition()) {
            (Some(wanted), Some(partition)) => wanted == partition,
            (None, _) | (_, None) => true,
        };
        lane.topic() == self.topic && partition
    }
}

/// A flush of a scope that is under way.
pub(crate) struct ScopedFlush {
    pub(crate) id: u64,
    pub(crate) scope: Scope,
    pub(crate) point: FlushPoint,
    /// Records that it waits for.
    pub(crate) left: usize,
    pub(crate) waker: Option<Waker>,
}

impl State {
    /// A record was delivered. Those that failed are counted by [`State::recount_scopes`], since they are few.
    pub(crate) fn count_down(&mut self, lane: Lane, sequence: u64) {
        for flush in &mut self.scoped {
            if flush.point.covers(sequence) && flush.scope.has(lane) {
                flush.left = flush.left.saturating_sub(1);
            }
        }
    }

    /// Counts anew what flushes of a scope wait for, if records came back since.
    pub(crate) fn recount_scopes(&mut self) {
        if !std::mem::take(&mut self.recount) {
            return;
        }
        for flush in &mut self.scoped {
            flush.left = self.machine.len_before_in(flush.point, |lane| flush.scope.has(lane));
        }
    }
}
