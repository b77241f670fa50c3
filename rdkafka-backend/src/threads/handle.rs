//! The driver's handle of the backend.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Backend, Connections, Driver, Message, PartitionLoad, Placement, Request};

use crate::coordination::Signals;
use crate::events::EventSinks;
use crate::ffi::{ConnectionCounts, is_in_interceptor};
use crate::partition::states::TopicStates;
use crate::renewal::{Client, Stalled};
use crate::threads::control::Started;
use crate::threads::inline_worker::InlineWorker;
use crate::threads::shutdown::Shutdown;

/// Dropping it shuts the backend down.
pub(crate) struct Handle<R: Message, E: Driver<R>> {
    signals: Arc<Signals>,
    inline_worker: Arc<InlineWorker<R>>,
    shutdown: Arc<Shutdown<R, E>>,
    driver: Weak<E>,
    sinks: Arc<EventSinks>,
    topics: Arc<TopicStates>,
    connections: Arc<ConnectionCounts>,
}

impl<R: Message, E: Driver<R>> Handle<R, E> {
    pub(crate) fn new(
        (inline_worker, shutdown): Started<R, E>,
        signals: Arc<Signals>,
        driver: Weak<E>,
        sinks: Arc<EventSinks>,
        topics: Arc<TopicStates>,
        connections: Arc<ConnectionCounts>,
    ) -> Self {
        Self { signals, inline_worker, shutdown, driver, sinks, topics, connections }
    }
}

impl<R: Message, E: Driver<R>> Backend for Handle<R, E> {
    fn wake(&self) {
        self.signals.wake();
    }

    fn wake_for_one(&self) {
        // A waker that polls its task at once may call this from within librdkafka.
        let driver = if is_in_interceptor() { None } else { self.driver.upgrade() };
        let handed_off = driver.is_some_and(|driver| self.inline_worker.try_hand_off(&*driver));
        if !handed_off {
            self.signals.wake();
        }
    }

    fn connections(&self) -> Option<Connections> {
        self.connections.get()
    }

    fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        self.topics.place(topic, key, value)
    }

    fn loads(&self) -> Vec<PartitionLoad> {
        self.topics.loads(Instant::now())
    }

    fn flush(&self) {
        self.signals.flush();
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        self.signals.purge(queued, in_flight);
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        self.signals.call(request)
    }

    fn shut_down(&self) {
        self.shutdown.begin();
        self.signals.shut_down();
    }

    fn panic_caught(&self, code: &'static str) {
        self.sinks.panic_caught(code);
    }
}

impl<R: Message, E: Driver<R>> Client for Handle<R, E> {
    fn retire(&self, limit: Duration) {
        self.shutdown.begin_within(limit);
        self.signals.shut_down();
    }

    fn topics(&self) -> &Arc<TopicStates> {
        &self.topics
    }

    fn stalled(&self, limit: Duration) -> Option<Stalled> {
        let is_stalled = |load: &PartitionLoad| {
            load.unanswered_for.is_some_and(|silent| silent >= limit)
                && load.leader.is_none_or(|leader| self.connections.is_up(leader))
        };
        let load = self.topics.loads(Instant::now()).into_iter().find(is_stalled)?;
        // A partition whose leader is not known waits for a broker that is connected.
        self.connections.get()?.up.checked_sub(1)?;
        Some(Stalled { topic: load.topic, partition: load.partition })
    }
}

impl<R: Message, E: Driver<R>> Drop for Handle<R, E> {
    fn drop(&mut self) {
        self.shut_down();
    }
}
