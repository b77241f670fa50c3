//! How the locks are taken. The doc of [`state`](super) says what nests in what, and what may run under which.

use super::effects::Effects;
use super::shared::{Shared, Spare, State};
use crate::admission::inbox::Inbox;
use crate::runtime::sync::{MutexGuard, lock};

impl Shared {
    /// The state as it is, without the arrivals in the inbox.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    /// Collects all arrivals, runs `step`, and gathers what follows from the new state, all under the state lock. Then, without
    /// it, applies the effects.
    pub(crate) fn with<T>(&self, step: impl FnOnce(&mut State, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let value = {
            let mut state = self.lock();
            state.collect_arrivals(self, &mut effects);
            let value = step(&mut state, &mut effects);
            state.after_transition(self, &mut effects);
            value
        };
        self.apply(&mut effects);
        value
    }

    pub(crate) fn spare(&self) -> MutexGuard<'_, Spare> {
        lock(&self.spare)
    }
}
