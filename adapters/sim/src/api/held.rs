//! Records whose outcome a test decides.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use aioproducer_core::backend::{ErrorCode, FailureKind};

use crate::cluster::{Fate, Shared};
use crate::log::LogRecord;
use crate::sync::Arc;
use crate::waiters::Waiters;

/// Holds a topic's records: [`SimCluster::hold`](crate::SimCluster::hold). When it is dropped, those that the test has not taken
/// are delivered, and so are later ones.
///
/// ```
/// use aioproducer_driver::{AioProducer, Record, error::{FailureKind, Status}};
/// use aioproducer_sim::{Sim, SimCluster};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new().with_topic("orders", 1);
///     let producer = AioProducer::builder(kafka.backend()).start(sim).unwrap();
///     let held = kafka.hold("orders");
///     let first = producer.produce(Record::to("orders").payload("apples")).await.unwrap();
///     let second = producer.produce(Record::to("orders").payload("pears")).await.unwrap();
///     held.next().await.refuse(FailureKind::TooLarge);
///     held.next().await.deliver();
///     assert_eq!(first.await.unwrap_err().status(), Status::NotPersisted);
///     assert_eq!(second.await.unwrap().offset(), Some(0));
/// });
/// ```
pub struct Hold {
    shared: Shared,
    topic: Arc<str>,
    waiters: Arc<Waiters>,
}

impl Hold {
    pub(super) fn new(shared: Shared, topic: &str) -> Self {
        let topic = Arc::from(topic);
        let waiters = shared.lock().holds.hold(&topic);
        Self { shared, topic, waiters }
    }

    /// The next record: waits until a producer has handed one over. Records of a partition come in their order.
    pub async fn next(&self) -> Held {
        Next { hold: self, number: self.waiters.number() }.await
    }

    /// How many records wait that [`next`](Self::next) has not returned.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().holds.waiting(&self.topic)
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.change(|state, _| state.holds.release(&self.topic));
    }
}

struct Next<'a> {
    hold: &'a Hold,
    number: u64,
}

impl Next<'_> {
    fn take(&self) -> Option<Held> {
        let shared = &self.hold.shared;
        let (number, record) = shared.lock().holds.next(&self.hold.topic)?;
        Some(Held { shared: shared.clone(), number, record: Some(record) })
    }
}

impl Future for Next<'_> {
    type Output = Held;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Held> {
        if let Some(held) = self.take() {
            return Poll::Ready(held);
        }
        self.hold.waiters.wait(self.number, cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.hold.waiters.leave(self.number);
    }
}

/// A record that waits for the test's decision. Records of its partition wait behind it. If it is dropped without a decision, it
/// is delivered.
///
/// ```
/// # use aioproducer_sim::Held;
/// fn decide(record: Held) {
///     if record.record().payload_str() == Some("two apples") { record.deliver() } else { record.lose_answer() }
/// }
/// ```
#[must_use = "a held record that is dropped is delivered"]
pub struct Held {
    shared: Shared,
    number: u64,
    /// `None` after the decision.
    record: Option<LogRecord>,
}

impl Held {
    /// The record. Its offset is -1, as it is not in the log yet.
    #[must_use]
    pub fn record(&self) -> &LogRecord {
        self.record.as_ref().expect("present until the decision, which consumes the value")
    }

    /// The record goes its usual way: to the leader of its partition.
    pub fn deliver(self) {
        self.decide(Fate::Normal);
    }

    /// The producer's client fails the record with this kind, as not persisted. It is not sent.
    pub fn refuse(self, kind: FailureKind) {
        self.decide(Fate::Refuse(kind));
    }

    /// The broker answers with this error, as by [`On::answer`](crate::On::answer). The client's next attempt is not affected.
    pub fn answer(self, code: ErrorCode) {
        self.decide(Fate::Answer(code));
    }

    /// The broker appends the record, and the connection breaks before its answer arrives. The client tries again: an idempotent
    /// one writes the record once, another one twice.
    pub fn lose_answer(self) {
        self.decide(Fate::LoseAnswer);
    }

    /// The connection breaks before the broker has read the request. The client tries again.
    pub fn lose_request(self) {
        self.decide(Fate::LoseRequest);
    }

    fn decide(mut self, fate: Fate) {
        self.record = None;
        self.shared.change(|state, _| state.holds.decide(self.number, fate));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.record.take().is_some() {
            self.shared.change(|state, _| state.holds.decide(self.number, Fate::Normal));
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("record", &self.record).finish_non_exhaustive()
    }
}
