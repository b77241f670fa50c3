//! Scripted faults: which requests, how often, and what becomes of them.

use std::panic::Location;
use std::time::Duration;

use aioproducer_core::backend::ErrorCode;

use crate::cluster::{Api, Fate, Rule, Scope, Shared};
use crate::sync::Arc;

/// The produce requests of all producers, for [`SimCluster::on`](crate::SimCluster::on).
///
/// ```
/// # use aioproducer_sim::{Produce, SimCluster};
/// # use aioproducer_driver::error::ErrorCode;
/// let kafka = SimCluster::new().with_topic("orders", 3);
/// let (all, some) = (kafka.on(Produce), kafka.on(Produce.to("orders").partition(2)));
/// # drop((all, some));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produce;

impl Produce {
    /// Those for one topic.
    #[must_use]
    pub fn to(self, topic: &str) -> Requests {
        Requests(Scope::Produce { topic: Some(Arc::from(topic)), partition: None })
    }
}

/// The requests that a fault is for: those for one topic, those for one of its partitions, or those of transactions.
///
/// ```
/// # use aioproducer_sim::{EndTxn, Produce, Requests};
/// assert_ne!(Produce.to("orders"), Produce.to("orders").partition(2));
/// assert_ne!(Requests::from(Produce), Requests::from(EndTxn));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests(Scope);

impl Requests {
    /// Those for one partition of the topic.
    ///
    /// # Panics
    /// If they are not for a topic.
    #[must_use]
    #[track_caller]
    pub fn partition(mut self, number: i32) -> Self {
        match &mut self.0 {
            Scope::Produce { topic: Some(_), partition } => *partition = Some(number),
            scope => panic!("`partition` comes after `Produce.to(topic)`: {scope} has no partitions"),
        }
        self
    }

    pub(super) fn into_scope(self) -> Scope {
        self.0
    }
}

impl From<Produce> for Requests {
    fn from(_: Produce) -> Self {
        Self(Scope::Produce { topic: None, partition: None })
    }
}

impl From<InitProducerId> for Requests {
    fn from(_: InitProducerId) -> Self {
        Self(Scope::Coordinator(Api::InitProducerId))
    }
}

impl From<TxnOffsetCommit> for Requests {
    fn from(_: TxnOffsetCommit) -> Self {
        Self(Scope::Coordinator(Api::TxnOffsetCommit))
    }
}

impl From<EndTxn> for Requests {
    fn from(_: EndTxn) -> Self {
        Self(Scope::Coordinator(Api::EndTxn))
    }
}

/// A transactional producer asks for its number, with `init_transactions` or its first `begin`: for
/// [`SimCluster::on`](crate::SimCluster::on).
///
/// ```
/// use aioproducer_driver::{AioProducer, error::ErrorCode};
/// use aioproducer_sim::{InitProducerId, Sim, SimCluster};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new();
///     kafka.on(InitProducerId).once().answer(ErrorCode::CoordinatorNotAvailable);
///     let producer = AioProducer::builder(kafka.backend().transactional_id("bank")).start(sim).unwrap();
///     producer.init_transactions().await.unwrap();
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitProducerId;

/// Offsets become part of a transaction, with `send_offsets`: for [`SimCluster::on`](crate::SimCluster::on).
///
/// ```
/// use aioproducer_driver::AioProducer;
/// use aioproducer_driver::error::ErrorCode;
/// use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
/// use aioproducer_sim::{Sim, SimCluster, TxnOffsetCommit};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new().with_topic("orders", 1);
///     kafka.on(TxnOffsetCommit).once().answer(ErrorCode::IllegalGeneration);
///     let producer = AioProducer::builder(kafka.backend().transactional_id("bills")).start(sim).unwrap();
///     let transaction = producer.begin().await.unwrap();
///     let offset = GroupOffset::new("orders", 0, 42);
///     let error = transaction.send_offsets([offset], Group::new("billing")).await.unwrap_err();
///     assert_eq!(error.remedy(), Remedy::Abort, "the consumer has lost its partitions");
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnOffsetCommit;

/// The end of a transaction, with `commit` or `abort`: for [`SimCluster::on`](crate::SimCluster::on).
///
/// ```
/// use std::time::Duration;
///
/// use aioproducer_driver::transaction::Remedy;
/// use aioproducer_driver::{AioProducer, Record};
/// use aioproducer_sim::{EndTxn, Sim, SimCluster};
///
/// Sim::run(7, |sim| async move {
///     let kafka = SimCluster::new().with_topic("ledger", 1);
///     kafka.on(EndTxn).once().apply_then_lose_answer();
///     let backend = kafka.backend().transactional_id("bank").retry_backoff(Duration::from_secs(10));
///     let builder = AioProducer::builder(backend).call_timeout(Duration::from_secs(1));
///     let producer = builder.start(sim).unwrap();
///     let transaction = producer.begin().await.unwrap();
///     transaction.send(Record::to("ledger").payload("-5")).await.unwrap();
///     let error = transaction.commit().await.unwrap_err();
///     assert_eq!(error.remedy(), Remedy::Resolve, "in doubt: it is committed, and the answer is lost");
///     assert_eq!(kafka.topic("ledger").committed().len(), 1);
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxn;

/// A fault that is not defined yet: [`SimCluster::on`](crate::SimCluster::on). The last call says what becomes of the requests.
///
/// If several faults are for a request, the one that was defined first and is not used up counts.
///
/// ```
/// # use std::time::Duration;
/// # use aioproducer_driver::error::ErrorCode;
/// # use aioproducer_sim::{Produce, SimCluster};
/// let kafka = SimCluster::new().with_topic("orders", 3);
/// kafka.on(Produce).once().apply_then_lose_answer();
/// kafka.on(Produce.to("orders")).times(3).answer(ErrorCode::NotEnoughReplicas);
/// # assert!(std::panic::catch_unwind(move || drop(kafka)).is_err());
/// ```
#[must_use = "nothing happens until the last call says what becomes of the requests"]
#[derive(Debug)]
pub struct On {
    shared: Shared,
    scope: Scope,
    times: Option<u64>,
}

impl On {
    pub(super) fn new(shared: Shared, scope: Scope) -> Self {
        Self { shared, scope, times: None }
    }

    /// For the next `count` such requests. Without it, the fault is for each request, and has to be hit once at least.
    ///
    /// # Panics
    /// If it is 0: such a fault could not be hit.
    #[track_caller]
    pub fn times(mut self, count: u64) -> Self {
        assert!(count > 0, "a fault for 0 requests cannot be hit; leave it out");
        self.times = Some(count);
        self
    }

    /// For the next such request.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The broker answers with this error and does nothing else. A producer retries after an error that
    /// [is retriable](ErrorCode::is_retriable), and fails the records after others. `NotEnoughReplicasAfterAppend` is answered
    /// after the records were appended, as it says.
    #[track_caller]
    pub fn answer(self, code: ErrorCode) -> Fault {
        self.define(Fate::Answer(code))
    }

    /// The broker does as it is asked, and the connection breaks before its answer arrives.
    #[track_caller]
    pub fn apply_then_lose_answer(self) -> Fault {
        self.define(Fate::LoseAnswer)
    }

    /// The connection breaks before the broker has read the request.
    #[track_caller]
    pub fn lose_request(self) -> Fault {
        self.define(Fate::LoseRequest)
    }

    /// The request takes so much longer to arrive.
    #[track_caller]
    pub fn delay(self, by: Duration) -> Fault {
        self.define(Fate::Delay(by))
    }

    #[track_caller]
    fn define(self, fate: Fate) -> Fault {
        let Self { shared, scope, times } = self;
        shared.check_open();
        let rule = Rule { scope, fate, times, hits: 0, defined_at: Location::caller() };
        let number = shared.lock().rules.add(rule);
        Fault { shared, number }
    }
}

/// A scripted fault. Dropping this does not end it.
///
/// ```
/// # use aioproducer_sim::{Produce, SimCluster};
/// let kafka = SimCluster::new().with_topic("orders", 3);
/// let fault = kafka.on(Produce).once().lose_request();
/// assert_eq!(fault.hits(), 0);
/// # assert!(std::panic::catch_unwind(move || drop(kafka)).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    shared: Shared,
    number: usize,
}

impl Fault {
    /// How many requests it was applied to.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shared.lock().rules.hits(self.number)
    }
}
