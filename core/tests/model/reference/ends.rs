//! Purges, and the end.

use core::time::Duration;

use aioproducer_core::{Action, FlushGroup, Phase, PurgeScope};

use super::{Accepted, Model, Out};

impl Model {
    pub(super) fn ask(&mut self, action: Action) {
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }

    pub(crate) fn purge(&mut self, scope: PurgeScope) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        if scope.queued() {
            let buffered = self.live.iter().filter(|entry| entry.batch.is_none());
            self.purging = buffered.map(|entry| entry.item.number).collect();
            self.purge_below = self.acquired;
        }
        self.asked = Some(self.asked.map_or(scope, |before| before.and(scope)));
        self.purge_after = self.out.iter().map(|out| out.number).collect();
    }

    /// A record came back from a batch that is out.
    pub(crate) fn purge_refused(&mut self, number: u64, batch: u64) {
        if let Some((scope, batches, below)) = &self.waiting
            && scope.queued()
            && batches.contains(&batch)
            && number < *below
        {
            self.came_back.push(number);
        }
        let scopes = self.asked.into_iter().chain(self.waiting.as_ref().map(|(scope, ..)| *scope));
        let is_meant = self.purge_after.contains(&batch) && number < self.purge_below;
        if is_meant && scopes.into_iter().any(PurgeScope::queued) {
            self.purging.push(number);
        }
    }

    /// Stops what has not given back all its records.
    pub(crate) fn stop_purge(&mut self) {
        if self.asked.is_some() && !self.to_purge().is_empty() {
            self.asked = None;
            self.purging = self.came_back.clone();
            (self.purge_after, self.purge_below) =
                self.waiting.as_ref().map_or_else(Default::default, |(_, batches, below)| (batches.clone(), *below));
        }
    }

    /// Buffered records that are to be purged.
    pub(crate) fn to_purge(&self) -> Vec<u64> {
        let is_meant = |entry: &&Accepted| entry.batch.is_none() && self.purging.contains(&entry.item.number);
        self.live.iter().filter(is_meant).map(|entry| entry.item.number).collect()
    }

    pub(crate) fn close(&mut self, within: Duration) {
        let deadline = self.now + within;
        self.phase = match self.phase {
            Phase::Open => Phase::Closing(deadline),
            Phase::Closing(before) => Phase::Closing(before.min(deadline)),
            ended => ended,
        };
        if let Phase::Closing(_) = self.phase {
            self.ask(Action::Flush);
        }
    }

    pub(crate) fn end_all(&mut self) {
        if matches!(self.phase, Phase::Open | Phase::Closing(_)) {
            self.phase = Phase::Ending;
            self.flush_below.push((FlushGroup::All, self.acquired));
            (self.asked, self.waiting, self.purge_below) = (None, None, 0);
            self.purging.clear();
            self.came_back.clear();
            self.actions = vec![Action::ShutDown];
        }
    }

    pub(crate) fn handle_backend_ended(&mut self) -> Vec<Out> {
        self.end_all();
        self.backend_gone = true;
        self.blocked = false;
        std::mem::take(&mut self.out)
    }

    /// What the backend is to do next.
    pub(crate) fn action(&mut self, settled: bool) -> Option<Action> {
        if let Phase::Closing(deadline) = self.phase
            && (deadline <= self.now || settled && self.live.is_empty())
        {
            self.end_all();
        }
        if self.to_purge().is_empty()
            && let Some(asked) = self.asked.take()
        {
            let scope = self.waiting.take().map_or(asked, |(scope, ..)| scope.and(asked));
            self.waiting = Some((scope, self.purge_after.clone(), self.purge_below));
        }
        let is_settled = |out: &Out| !self.purge_after.contains(&out.number);
        if self.to_purge().is_empty() && self.out.iter().all(is_settled) {
            let due = self.waiting.take().map(|(scope, ..)| scope);
            if let Some(scope) = due {
                return Some(Action::Purge(scope));
            }
        }
        if self.actions.is_empty() { None } else { Some(self.actions.remove(0)) }
    }
}
