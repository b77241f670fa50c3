//! The backend, as the driver sees it: it notes that it was woken.
//!
//! The driver counts who is awake: a worker is woken, asks for batches, and is idle when there is none. A backend that is one task may
//! also ask when something else has woken it. The driver would take it for another worker, and later for one that is awake and is not,
//! which matters when workers are sent away. So a backend without threads asks only after it was woken.

use std::sync::atomic::{AtomicBool, Ordering};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Backend, Connections, PartitionLoad, Placement, Request};

use crate::sync::Arc;

/// Whether the one worker is awake, as the driver counts. `None` for a backend whose workers ask only when they are.
#[derive(Clone, Default)]
pub(super) struct Awake(Option<Arc<AtomicBool>>);

impl Awake {
    /// A worker that has not asked yet is awake.
    pub(super) fn one_worker() -> Self {
        Self(Some(Arc::new(AtomicBool::new(true))))
    }

    /// Whether the worker may ask. It is idle from then on, unless it [stays awake](Self::stay).
    pub(super) fn begin(&self) -> bool {
        self.0.as_ref().is_none_or(|awake| awake.swap(false, Ordering::AcqRel))
    }

    pub(super) fn stay(&self) {
        if let Some(awake) = &self.0 {
            awake.store(true, Ordering::Release);
        }
    }
}

pub(super) struct Woken {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) awake: Awake,
}

impl Backend for Woken {
    fn wake(&self) {
        self.awake.stay();
        self.backend.wake();
    }

    fn wake_for_one(&self) {
        self.awake.stay();
        self.backend.wake_for_one();
    }

    fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        self.backend.place(topic, key, value)
    }

    fn connections(&self) -> Option<Connections> {
        self.backend.connections()
    }

    fn loads(&self) -> Vec<PartitionLoad> {
        self.backend.loads()
    }

    fn flush(&self) {
        self.backend.flush();
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        self.backend.purge(queued, in_flight);
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        self.backend.call(request)
    }

    fn shut_down(&self) {
        self.backend.shut_down();
    }

    fn panic_caught(&self, code: &'static str) {
        self.backend.panic_caught(code);
    }
}
