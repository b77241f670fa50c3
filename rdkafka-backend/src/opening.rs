//! Starts clients with a configuration that was checked.

use std::sync::{Arc, Weak};

use aioproducer_core::backend::{Backend, Driver, Message, Severity};
use rdkafka::ClientConfig;

use crate::catch_panic::catch_panic;
use crate::config::secrets::Secrets;
use crate::config::{self, ConfigError, Effective};
use crate::coordination::Signals;
use crate::events::{Event, EventRouter, EventSink, EventSinks, RawEvent};
use crate::ffi::{AtOnce, CallbackContext, Client};
use crate::oauth::TokenMailbox;
use crate::partition::partitioner::Partitioner;
use crate::partition::partitioning::Partitioning;
use crate::partition::rule::{Partition, ToPartition};
use crate::partition::states::TopicStates;
use crate::renewal::{self, Link, Policy, RenewedHandle, Shared};
use crate::threads::{self, Handle};

/// The part of the pool that is many records for a partition that does not answer.
const CROWD: usize = 16;

/// What the application has set beside librdkafka's configuration.
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) sinks: Vec<EventSink>,
    pub(crate) mailbox: Option<Arc<TokenMailbox>>,
    pub(crate) policy: Policy,
    /// Slots of the pool.
    pub(crate) capacity: usize,
}

/// Starts a client, and another one for each that is to be replaced.
pub(crate) fn open<R: Message, E: Driver<R>>(
    effective: Effective,
    settings: Settings,
    driver: Arc<E>,
) -> Result<Arc<dyn Backend>, ConfigError> {
    let Effective { mut config, mut partitioning, has_spare_room, idempotence_off, limits, strict } = effective;
    let Settings { workers, sinks, mailbox, policy, capacity } = settings;
    // Partitions that do not answer must not get the pool before that is known.
    partitioning.crowd = u32::try_from(capacity / CROWD).unwrap_or(u32::MAX).max(1);
    let log_level = config::log_level(&config::native(&config)?);
    let sinks = Arc::new(EventSinks::new(sinks, Secrets::of(&config)).with_log_level(log_level));
    if let Partitioner::Custom(rule) = partitioning.partitioner {
        let sinks = Arc::clone(&sinks);
        partitioning.partitioner = Partitioner::Custom(Arc::new(CatchingRule { rule, sinks }));
    }
    if sinks.is_empty() {
        config.set("statistics.interval.ms", "0");
    }
    if let Some(off) = idempotence_off {
        if !off.is_explicit() {
            driver.log(Severity::Warning, &off.to_string());
        }
        sinks.write(|| RawEvent::Event(Event::IdempotenceOff(off)));
    }
    let plan = Plan {
        config,
        partitioning,
        has_spare_room,
        transactional: limits.transactional,
        strict,
        workers,
        capacity,
        sinks,
        mailbox,
        is_renewed: policy.renews(),
    };
    if !policy.renews() {
        return Ok(plan.client(driver, None)?);
    }
    let (sinks, mailbox) = (Arc::clone(&plan.sinks), plan.mailbox.clone());
    let open: renewal::Opener<R, E> =
        Box::new(move |link: Arc<Link<R, E>>, before: Option<&TopicStates>| Ok(plan.client(link, before)?));
    let shared = Shared::start(driver, policy, sinks, mailbox, workers, open)?;
    threads::start_renewer(Arc::clone(&shared)).map_err(|error| ConfigError::Thread { reason: error.to_string() })?;
    Ok(Arc::new(RenewedHandle::new(shared)))
}

/// What all clients of a producer have in common.
struct Plan {
    config: ClientConfig,
    partitioning: Partitioning,
    has_spare_room: bool,
    transactional: bool,
    strict: bool,
    workers: usize,
    capacity: usize,
    sinks: Arc<EventSinks>,
    mailbox: Option<Arc<TokenMailbox>>,
    is_renewed: bool,
}

impl Plan {
    /// Starts a client with its threads, and with what the one `before` it knew of its topics.
    fn client<R: Message, E: Driver<R>>(
        &self,
        driver: Arc<E>,
        before: Option<&TopicStates>,
    ) -> Result<Arc<Handle<R, E>>, ConfigError> {
        let native = config::native(&self.config)?;
        // A transactional producer gets its producer id with `InitTransactions`.
        let warm_up = config::is_true(&native, "enable.idempotence") && !self.transactional;
        let signals = Arc::new(Signals::new(self.workers).purging(!self.strict));
        let states = match before {
            Some(before) => TopicStates::after(before, &self.partitioning, Arc::clone(&signals)),
            None => TopicStates::new(Arc::clone(&signals)),
        };
        let context = CallbackContext {
            sinks: Arc::clone(&self.sinks),
            tokens: self.mailbox.clone(),
            signals: Arc::clone(&signals),
            router: EventRouter::new(),
            is_renewed: self.is_renewed,
        };
        let weak = Arc::downgrade(&driver);
        let at_once = self.has_spare_room.then(|| at_once(weak.clone()));
        let client = Client::new(&self.config, native, self.capacity, context, at_once, states)
            .map_err(|error| config::client_error(&self.config, &error))?;
        let (topics, connections) = (Arc::clone(client.topic_states()), client.connections());
        let started = threads::start(client, driver, Arc::clone(&signals), self.workers, &self.partitioning, warm_up)
            .map_err(|error| ConfigError::Thread { reason: error.to_string() })?;
        Ok(Arc::new(Handle::new(started, signals, weak, Arc::clone(&self.sinks), topics, connections)))
    }
}

/// Reports a success to the driver on librdkafka's thread.
fn at_once<R, E: Driver<R>>(driver: Weak<E>) -> AtOnce {
    Box::new(move |slot, delivered| driver.upgrade().is_some_and(|driver| driver.report_at_once(slot, delivered)))
}

/// The application's rule. A panic is caught and reported, and its record gets no partition.
struct CatchingRule {
    rule: Arc<dyn Partition>,
    sinks: Arc<EventSinks>,
}

impl Partition for CatchingRule {
    fn partition(&self, record: ToPartition<'_>) -> i32 {
        catch_panic(|| self.rule.partition(record)).unwrap_or_else(|| {
            self.sinks.panic_caught("the partitioner");
            -1
        })
    }

    fn reads_value(&self) -> bool {
        self.rule.reads_value()
    }
}

#[cfg(all(test, feature = "embedded-broker"))]
mod tests {
    use std::time::{Duration, Instant};

    use aioproducer_core::backend::Status;

    use crate::Librdkafka;
    use crate::common::{Rec, Rig, broker, client, eventually};
    use crate::ffi::resolving;
    use crate::threads::clients_left_behind;

    /// Large enough to be borrowed.
    fn large(id: u64) -> Rec {
        Rec::new(id).payload(vec![id as u8; 100_000]).to(0)
    }

    #[test]
    fn s25_the_end_does_not_wait_for_a_host_name_to_be_resolved() {
        resolving::use_here();
        let broker = broker(1);
        let config = client(broker.bootstrap_servers(), &[("broker.address.ttl", "1"), ("reconnect.backoff.ms", "10")]);
        let rig = Rig::with(Librdkafka::new(config), 100, &["t"]);
        rig.send([large(0)]);
        rig.wait(1);
        // The threads of all brokers lose their connections and resolve the address again.
        resolving::hang(true);
        broker.broker_down(-1).unwrap();
        eventually("a name is being resolved", || resolving::hanging() > 0);
        rig.send((1..50).map(large));
        rig.wait_handed_off(49);
        let before = clients_left_behind();
        let start = Instant::now();
        // This checks that each record comes back unchanged.
        let outcomes = rig.end();
        // An end that waits would hang, so a busy machine gets plenty of time.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        for id in 1..50 {
            let Err((failure, record)) = &outcomes[&id] else { panic!("{id} was delivered") };
            assert_ne!(failure.status, Status::Persisted, "{id}");
            assert_eq!(record, &large(id));
        }
        assert!(resolving::hanging() > 0, "it still hangs");
        assert_eq!(clients_left_behind(), before + 1);
        resolving::hang(false);
        eventually("the client ends", || clients_left_behind() == before);
    }
}
