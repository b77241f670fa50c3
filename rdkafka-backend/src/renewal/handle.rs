//! The clients, as the driver sees them: one backend.

use std::sync::Arc;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Backend, Connections, Driver, Message, PartitionLoad, Placement, Request};

use super::client::Client;
use super::shared::Shared;
use crate::failure;

/// Dropping it shuts the backend down.
pub(crate) struct RenewedHandle<R: Message, E: Driver<R>>(Arc<Shared<R, E>>);

impl<R: Message, E: Driver<R>> RenewedHandle<R, E> {
    pub(crate) fn new(shared: Arc<Shared<R, E>>) -> Self {
        Self(shared)
    }
}

impl<R: Message, E: Driver<R>> Backend for RenewedHandle<R, E> {
    fn wake(&self) {
        self.0.awakes();
        if let Some(client) = self.0.client() {
            client.wake();
        }
    }

    fn wake_for_one(&self) {
        self.0.awakes();
        if let Some(client) = self.0.client() {
            client.wake_for_one();
        }
    }

    fn connections(&self) -> Option<Connections> {
        self.0.connections()
    }

    fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        self.0.client().map_or(Placement::Unknown, |client| client.place(topic, key, value))
    }

    fn loads(&self) -> Vec<PartitionLoad> {
        self.0.client().map_or_else(Vec::new, |client| client.loads())
    }

    fn flush(&self) {
        if let Some(client) = self.0.client() {
            client.flush();
        }
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        if queued {
            let kept = self.0.state().purge();
            if !kept.is_empty() {
                self.0.give_up(kept, Some(failure::purged()));
            }
        }
        if let Some(client) = self.0.client() {
            client.purge(queued, in_flight);
        }
    }

    fn call(&self, mut request: Box<Request>) -> Result<(), Box<Request>> {
        let mut before: Option<Arc<dyn Client>> = None;
        loop {
            let Some(client) = self.0.client() else { return Err(request) };
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &client)) {
                return Err(request);
            }
            request = match client.call(request) {
                Ok(()) => return Ok(()),
                Err(request) => request,
            };
            let mut state = self.0.state();
            if state.is_between && !state.is_closing {
                // The new client makes it.
                state.calls.push(request);
                return Ok(());
            }
            before = Some(client);
        }
    }

    fn shut_down(&self) {
        self.0.state().is_closing = true;
        self.0.notify();
        if let Some(client) = self.0.client() {
            client.shut_down();
        }
    }

    fn panic_caught(&self, code: &'static str) {
        self.0.sinks.panic_caught(code);
    }
}

impl<R: Message, E: Driver<R>> Drop for RenewedHandle<R, E> {
    fn drop(&mut self) {
        self.shut_down();
    }
}
