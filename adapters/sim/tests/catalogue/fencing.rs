//! S40 and S55: a producer that takes over a transactional id fences the one before it.

use aioproducer_driver::error::ErrorCode;
use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, Record, Transaction};
use aioproducer_sim::{Case, FaultKind, Plan, check};

use crate::outcomes::SIGNS;
use crate::transactions::{View, begin, end, init, start};
use crate::{FAULTS, SECOND, swarm};

/// What a fenced producer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Record,
    Offsets,
    Commit,
    Abort,
}

impl Next {
    const ALL: [Self; 4] = [Self::Record, Self::Offsets, Self::Commit, Self::Abort];

    fn any(case: &Case) -> Self {
        Self::ALL[case.sim().random(4) as usize]
    }

    /// Does it, and ends the transaction. Returns whether both failed as fenced.
    async fn is_fenced(self, producer: &AioProducer, transaction: Transaction) -> bool {
        let mut is_refused = true;
        if self == Self::Record {
            let sent = transaction.send(Record::to("t").payload("fenced")).await;
            is_refused = sent.is_err_and(|error| error.code() == Some(ErrorCode::InvalidProducerEpoch));
        }
        if self == Self::Offsets {
            let offsets = || transaction.send_offsets([GroupOffset::new("t", 0, 1)], Group::new("g"));
            let mut sent = offsets().await;
            while sent.as_ref().is_err_and(|error| error.remedy() == Remedy::Retry) {
                sent = offsets().await;
            }
            is_refused = sent.is_err_and(|error| error.code() == Some(ErrorCode::LocalFenced));
        }
        let ended = end(transaction, self != Self::Abort).await;
        let code = producer.fatal_error().and_then(|error| error.code());
        let is_given_up = ended.is_err_and(|error| error.remedy() == Remedy::GiveUp);
        is_refused && is_given_up && code == Some(ErrorCode::LocalFenced)
    }
}

#[test]
fn s40_a_later_producer_fences_the_one_before_it() {
    check(swarm(), |case| async move {
        let mut view = View::new(&case);
        let mut producer = start(&case, 120 * SECOND);
        for number in 0..5 {
            let transaction = begin(&producer).await;
            view.write(&transaction, &format!("{number}.committed")).await;
            case.always(end(transaction, true).await.unwrap().0, "a commit succeeds");
            view.ended(true);
            let transaction = begin(&producer).await;
            view.write(&transaction, &format!("{number}.open")).await;
            view.ended(false);
            producer.flush().await.unwrap();
            let next = start(&case, 120 * SECOND);
            init(&next).await;
            view.compare();
            let is_fenced = Next::any(&case).is_fenced(&producer, transaction).await;
            case.always(is_fenced, "whatever an earlier producer does next, it is fenced");
            view.compare();
            producer = next;
        }
    });
}

#[test]
fn s55_each_fault_is_seen_before_a_producer_is_fenced() {
    for (kind, sign) in SIGNS {
        let names: [&'static str; 4] = Next::ALL.map(|next| &*format!("{kind}, then fenced: {next:?}").leak());
        let only = FaultKind::all().filter(|other| *other != kind).fold(Plan::swarm(), Plan::without);
        check(only.topic("t", 3).faults_for(FAULTS).seeds(0..40), |case| async move {
            let mut producer = start(&case, 120 * SECOND);
            for _ in 0..6 {
                let transaction = begin(&producer).await;
                View::new(&case).write(&transaction, "open").await;
                producer.flush().await.unwrap();
                let next = start(&case, 120 * SECOND);
                init(&next).await;
                let does = Next::any(&case);
                let is_fenced = does.is_fenced(&producer, transaction).await;
                let has_hit = case.cluster().trace().to_string().contains(sign);
                case.always(is_fenced, "an earlier producer is fenced");
                for (other, name) in Next::ALL.into_iter().zip(names) {
                    case.sometimes(has_hit && other == does, name);
                }
                producer = next;
            }
            case.always(case.cluster().topic("t").committed().is_empty(), "nothing is seen");
        });
    }
}
