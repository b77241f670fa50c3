//! A producer starts: its backend runs, and so does its driver task.

use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackgroundTask};
use aioproducer_core::{Instant, Phase};

use super::shared::{Shared, State, Unused};
use super::task::DriverTask;

impl Shared {
    /// Takes the running backend and starts the driver task, and the tasks of the backend.
    pub(crate) fn start(self: &Arc<Self>, backend: Arc<dyn Backend>, background: Vec<BackgroundTask>) {
        self.panics.set_backend(self.backend.get_or_init(|| backend));
        // What ended the producer before this had no backend to shut down.
        let has_ended = self.lock().machine.phase() == Phase::Ending;
        if has_ended && let Some(backend) = self.backend() {
            backend.shut_down();
        }
        self.look_at_connections();
        let me = self.me.get_or_init(|| Arc::downgrade(self)).clone();
        self.context.retracts.get_or_init(|| me);
        self.runtime.spawn(Box::pin(DriverTask::new(Arc::clone(self))));
        background.into_iter().for_each(|task| self.runtime.spawn(task));
    }

    /// Tells the machine whether the backend has a connection, if it counts them.
    pub(super) fn look_at_connections(&self) {
        let read = || self.backend()?.connections();
        let mut known = None;
        // Two threads may read in one order and tell in the other. The later one looks again.
        while let Some(found) = read().filter(|found| Some(*found) != known) {
            self.with(|state, effects| {
                state.machine.handle_connected(found.up > 0);
                let was_unused = found.made > 0 && !found.is_failing && state.machine.stats().handed_off == 0;
                state.unused = (found.up == 0 && was_unused).then_some(Unused::Now);
                if state.unused.is_some() {
                    effects.wakers.extend(state.driver.take());
                }
            });
            known = Some(found);
        }
    }
}

/// How long a backend may take to connect again by itself.
const RECONNECTS: Duration = Duration::from_millis(100);

impl State {
    /// A backend that does not connect again by itself does so when it gets a record, so it may have one. Returns when to look again.
    pub(super) fn look_at_unused(&mut self, now: Instant) -> Instant {
        let since = match self.unused {
            None => return Instant::MAX,
            Some(Unused::Now) => now,
            Some(Unused::Since(since)) => since,
        };
        if now < since + RECONNECTS {
            self.unused = Some(Unused::Since(since));
            return since + RECONNECTS;
        }
        self.unused = None;
        self.machine.handle_connected(true);
        Instant::MAX
    }
}
