//! S36 to S38: what a transaction wrote is seen as a whole or not at all, whatever fails.

use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status, TransactionError};
use aioproducer_driver::transaction::{EndError, Group, GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, Record, Transaction};
use aioproducer_sim::{Case, Plan, check};

use crate::{MS, SECOND, swarm};

/// Longer than an abort in the background takes once there are no faults.
const REST: Duration = Duration::from_secs(60);

/// A producer with the one transactional id of the run. Its calls time out so soon that much is left to the application.
pub(crate) fn start(case: &Case, delivery_timeout: Duration) -> AioProducer {
    let backend = case.cluster().backend().transactional_id("id").retry_backoff(MS * 5);
    let builder = AioProducer::builder(backend).delivery_timeout(delivery_timeout).call_timeout(MS * 50).slots(64);
    let producer = builder.start(case.sim().clone()).unwrap();
    case.watch(&producer);
    producer
}

pub(crate) async fn init(producer: &AioProducer) {
    while let Err(error) = producer.init_transactions().await {
        assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    }
}

/// Waits for the abort of a dropped one, too.
pub(crate) async fn begin(producer: &AioProducer) -> Transaction {
    init(producer).await;
    loop {
        match producer.begin().await {
            Ok(transaction) => return transaction,
            Err(error) => assert!(matches!(error, TransactionError::Call { remedy: Remedy::Retry, .. }), "{error:?}"),
        }
    }
}

/// Asks again until a transaction has ended. Returns whether it was committed, and how often its commit was in doubt.
pub(crate) async fn end(mut transaction: Transaction, mut is_commit: bool) -> Result<(bool, u32), EndError> {
    let mut doubts = 0;
    loop {
        let ended = if is_commit { transaction.commit().await } else { transaction.abort().await };
        let Err(error) = ended else { return Ok((is_commit, doubts)) };
        match error.remedy() {
            Remedy::Resolve => doubts += 1,
            Remedy::Abort => is_commit = false,
            _ => return Err(error),
        }
        transaction = error.into_transaction().unwrap();
    }
}

/// What consumers are to see, by partition.
pub(crate) struct View {
    case: Case,
    expected: [Vec<String>; 3],
    written: [Vec<String>; 3],
}

impl View {
    pub(crate) fn new(case: &Case) -> Self {
        Self { case: case.clone(), expected: Default::default(), written: Default::default() }
    }

    /// Writes some records, for as long as the transaction takes any.
    pub(crate) async fn write(&mut self, transaction: &Transaction, name: &str) {
        let sim = self.case.sim();
        for number in 0..1 + sim.random(8) {
            if sim.random(3) == 0 {
                sim.sleep(Duration::from_micros(sim.random(100_000))).await;
            }
            let (partition, text) = (sim.random(3) as usize, format!("{name}.{number}"));
            let record = Record::to("t").partition(partition as i32).payload(text.clone());
            let Ok(delivery) = transaction.produce(record).await else { return };
            self.written[partition].push(text);
            drop(delivery);
        }
    }

    /// What was written is seen from now on, or never.
    pub(crate) fn ended(&mut self, is_committed: bool) {
        for (expected, written) in self.expected.iter_mut().zip(&mut self.written) {
            if is_committed {
                expected.append(written);
            }
            written.clear();
        }
    }

    /// Compares when no transaction with a record is open.
    pub(crate) fn compare(&self) {
        let mut seen: [Vec<String>; 3] = Default::default();
        for record in self.case.cluster().topic("t").committed() {
            seen[record.partition() as usize].push(record.payload_str().unwrap().to_owned());
        }
        let what = "the records of committed transactions are seen once and in order, and no others";
        self.case.always(seen == self.expected, what);
    }
}

#[test]
fn s37_a_transaction_is_seen_as_a_whole_or_not_at_all() {
    check(swarm(), |case| async move {
        let sim = case.sim();
        let producer = start(&case, MS * (100 + sim.random(1000)) as u32);
        let mut view = View::new(&case);
        for number in 0..8 {
            let transaction = begin(&producer).await;
            view.compare();
            view.write(&transaction, &number.to_string()).await;
            let is_commit = sim.random(3) > 0;
            let (is_committed, doubts) = end(transaction, is_commit).await.unwrap();
            case.sometimes(doubts > 0 && is_committed, "a commit in doubt turns out to be done");
            case.sometimes(is_commit && !is_committed, "a commit leaves the abort");
            view.ended(is_committed);
            view.compare();
        }
        sim.sleep(REST).await;
        view.compare();
    });
}

#[test]
fn s36_the_records_of_a_dropped_transaction_are_never_seen() {
    check(swarm(), |case| async move {
        let sim = case.sim();
        let producer = start(&case, 120 * SECOND);
        let mut view = View::new(&case);
        for number in 0..8 {
            let transaction = begin(&producer).await;
            view.compare();
            view.write(&transaction, &number.to_string()).await;
            let is_kept = sim.random(2) == 0;
            if is_kept {
                case.always(end(transaction, true).await.unwrap().0, "a commit succeeds");
            } else {
                drop(transaction);
            }
            view.ended(is_kept);
        }
        sim.sleep(REST).await;
        view.compare();
    });
}

#[test]
fn s38_an_abort_takes_back_what_was_not_sent() {
    check(Plan::calm().topic("t", 1).seeds(0..40), |case| async move {
        let (sim, kafka) = (case.sim(), case.cluster());
        let producer = start(&case, 120 * SECOND);
        init(&producer).await;
        // The first record is under way until its transaction is aborted.
        (1..=3).for_each(|id| kafka.broker(id).slow(MS * 20));
        for _ in 0..3 {
            let transaction = begin(&producer).await;
            let before = kafka.topic("t").records().len();
            let record = || transaction.produce(Record::to("t").payload("aborted"));
            let sent = record().await.unwrap();
            sim.sleep(MS).await;
            let mut queued = Vec::new();
            for _ in 0..1 + sim.random(5) {
                queued.push(record().await.unwrap());
                sim.sleep(MS * sim.random(3) as u32).await;
            }
            case.always(!end(transaction, false).await.unwrap().0, "it is aborted");
            for delivery in queued {
                let how = delivery.await.map_err(|error| (error.kind(), error.status()));
                let purged = how.err() == Some((FailureKind::Purged, Status::NotPersisted));
                case.always(purged, "what was not sent is purged");
            }
            case.always(sent.await.is_ok(), "what was under way has its own outcome");
            case.always(kafka.topic("t").records().len() == before + 1, "nothing is sent after the abort");
            case.always(kafka.topic("t").committed().is_empty(), "nothing of it is seen");
        }
    });
}

#[test]
fn s36_offsets_are_seen_after_their_commit_only() {
    check(swarm().topic("source", 1), |case| async move {
        let producer = start(&case, 120 * SECOND);
        let mut expected = None;
        for next in 1..9 {
            let seen = || case.cluster().group("g").offset("source", 0);
            let transaction = begin(&producer).await;
            case.always(seen() == expected, "an offset is seen when its transaction was committed");
            let offsets = || transaction.send_offsets([GroupOffset::new("source", 0, next)], Group::new("g"));
            while let Err(error) = offsets().await {
                assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
            }
            case.sim().sleep(MS * case.sim().random(100) as u32).await;
            case.always(seen() == expected, "no offset is seen before the commit");
            match case.sim().random(3) {
                0 => drop(transaction),
                how => {
                    if end(transaction, how == 1).await.unwrap().0 {
                        expected = Some(next);
                    }
                    case.always(seen() == expected, "an offset is seen after the commit, and not after an abort");
                }
            }
        }
    });
}
