//! S55: each kind of fault is followed by each kind of outcome, but for those that exclude each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, DeliveryError, DeliveryReport, PurgeScope};
use aioproducer_sim::{Case, FaultKind, Plan, check};

use crate::book::{Book, To};
use crate::{FAULTS, MS};

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Delivered,
    /// The client gave up: not persisted.
    Failed,
    /// The client gave up: possibly persisted.
    Doubtful,
    Retracted,
    PurgedUnsent,
    PurgedSent,
    TimedOutUnsent,
    TimedOutSent,
}

impl Ending {
    const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Failed,
        Self::Doubtful,
        Self::Retracted,
        Self::PurgedUnsent,
        Self::PurgedSent,
        Self::TimedOutUnsent,
        Self::TimedOutSent,
    ];

    fn of(outcome: &Result<DeliveryReport, DeliveryError>) -> Self {
        let Err(error) = outcome else { return Self::Delivered };
        match (error.kind(), error.status()) {
            (FailureKind::Purged, Status::NotPersisted) => Self::PurgedUnsent,
            (FailureKind::Purged, _) => Self::PurgedSent,
            (FailureKind::TimedOut, Status::NotPersisted) => Self::TimedOutUnsent,
            (FailureKind::TimedOut, _) => Self::TimedOutSent,
            (_, Status::NotPersisted) => Self::Failed,
            _ => Self::Doubtful,
        }
    }
}

/// What a trace says of each kind of fault.
pub(crate) const SIGNS: [(FaultKind, &str); 7] = [
    (FaultKind::AnswerLost, "fault: the answer is lost"),
    (FaultKind::RequestLost, "fault: the request is lost"),
    (FaultKind::ErrorAnswer, "fault: the answer is an error"),
    (FaultKind::Delay, "fault: a delay"),
    (FaultKind::BrokerStop, " stops"),
    (FaultKind::BrokerPause, " pauses"),
    (FaultKind::LeaderMove, "the leader is broker "),
];

/// What does not happen when there are no other faults, and why.
const IMPOSSIBLE: [(FaultKind, Ending, &str); 5] = [
    (FaultKind::AnswerLost, Ending::Failed, "the client cannot know whether the request was appended"),
    (FaultKind::RequestLost, Ending::Failed, "the client cannot know whether the request was appended"),
    (FaultKind::Delay, Ending::Failed, "a request without an answer may be appended"),
    (FaultKind::BrokerPause, Ending::Failed, "a request without an answer may be appended"),
    (FaultKind::LeaderMove, Ending::Doubtful, "a broker that does not lead says so, and has appended nothing"),
];

/// The endings of a run that came after a fault.
#[derive(Clone)]
struct Seen {
    case: Case,
    sign: &'static str,
    endings: Arc<Mutex<(bool, Vec<Ending>)>>,
}

impl Seen {
    fn note(&self, ending: Ending) {
        let (has_hit, endings) = &mut *self.endings.lock().unwrap();
        *has_hit = *has_hit || self.case.cluster().trace().to_string().contains(self.sign);
        if *has_hit && !endings.contains(&ending) {
            endings.push(ending);
        }
    }
}

/// Records that are taken back, purged, given up on by the client, or late.
async fn load(case: Case, seen: Seen) {
    let book = Book::new(&case);
    let (backoff, timeout) =
        (MS * [5, 50, 110][case.sim().random(3) as usize], MS * (40 + case.sim().random(200)) as u32);
    let backend = case
        .cluster()
        .backend()
        .queue_records(1 + case.sim().random(4) as usize)
        .retries(case.sim().random(2) as u32)
        .retry_backoff(backoff);
    let builder = AioProducer::builder(backend.request_timeout(MS * 60)).delivery_timeout(timeout).slots(40);
    let producer = book.watch(builder.start(case.sim().clone()).unwrap());
    let mut tasks = Vec::new();
    for partition in 0..3 {
        let (case, book, producer, seen) = (case.clone(), book.clone(), producer.clone(), seen.clone());
        tasks.push(case.clone().spawn(async move {
            let mut heard = Vec::new();
            for _ in 0..25 {
                let Some((number, delivery)) = book.produce(&producer, "one", To::Partition(partition)).await else {
                    continue;
                };
                case.sim().sleep(MS * case.sim().random(8) as u32).await;
                let delivery = if case.sim().random(6) > 0 {
                    delivery
                } else {
                    match delivery.retract() {
                        Ok(record) => {
                            seen.note(Ending::Retracted);
                            book.returned(number, &record);
                            continue;
                        }
                        Err(late) => late.into_delivery(),
                    }
                };
                let (book, seen) = (book.clone(), seen.clone());
                heard.push(case.spawn(async move {
                    let outcome = delivery.await;
                    seen.note(Ending::of(&outcome));
                    book.ended(number, &outcome);
                }));
            }
            for one in heard {
                one.await;
            }
        }));
    }
    for _ in 0..3 {
        case.sim().sleep(MS * case.sim().random(120) as u32).await;
        producer.purge(PurgeScope::All).await;
    }
    for task in tasks {
        task.await;
    }
    book.audit().await;
}

#[test]
fn s55_each_fault_is_seen_with_each_outcome() {
    for (kind, sign) in SIGNS {
        let names: BTreeMap<_, &'static str> =
            Ending::ALL.map(|ending| (ending, &*format!("{kind}, then {ending:?}").leak())).into();
        let names = &names;
        let only = FaultKind::all().filter(|other| *other != kind).fold(Plan::swarm(), Plan::without);
        check(only.topic("t", 3).faults_for(FAULTS).seeds(0..150), |case| async move {
            let seen = Seen { case: case.clone(), sign, endings: Arc::default() };
            load(case.clone(), seen.clone()).await;
            let endings = seen.endings.lock().unwrap().1.clone();
            for (ending, name) in names {
                let has_come = endings.contains(ending);
                if IMPOSSIBLE.iter().any(|(one, other, _)| (one, other) == (&kind, ending)) {
                    case.always(!has_come, name);
                } else {
                    case.sometimes(has_come, name);
                }
            }
        });
    }
}
