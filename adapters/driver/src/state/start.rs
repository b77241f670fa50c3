//! A producer starts: its backend runs, and so does its driver task.

use std::sync::Arc;

use aioproducer_core::Phase;
use aioproducer_core::backend::{Backend, BackgroundTask};

use super::shared::Shared;
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
            self.with(|state, _| state.machine.handle_connected(found.up > 0));
            known = Some(found);
        }
    }
}
