//! Random legal histories in which one thing is changed: the checker finds it, under its name.

use std::cell::RefCell;
use std::collections::BTreeMap;

use aioproducer_history::{Anomaly, Operation, Status};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::legal::{Case, Commit, End, Route, TIMEOUT, cases};

macro_rules! changes {
    ($($change:ident,)*) => {
        /// What is changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        enum Change {
            $($change,)*
        }

        const CHANGES: &[Change] = &[$(Change::$change,)*];
    };
}

changes! {
    DropLine,
    DoubleLine,
    SwapLines,
    SwapRecords,
    MoveLine,
    OtherPayload,
    ShowOrHideLine,
    DenyWritten,
    ClaimUnwritten,
    DropOutcome,
    AddOutcome,
    OtherOffset,
    OtherPartition,
    DelayOutcome,
    HandBackOther,
    ReturnEarly,
    LeakSlot,
    EndTransaction,
}

use Change::*;

/// One of a list, if there is one.
fn pick<T>(from: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let all: Vec<_> = from.collect();
    let at = pick.checked_rem(all.len())?;
    all.into_iter().nth(at)
}

/// Changes a case in a way that is not legal, and says what it is then; `None` if the case has nothing of the kind.
fn change(case: &mut Case, change: Change, at: usize) -> Option<Anomaly> {
    match change {
        DropLine | DoubleLine | SwapLines | SwapRecords | MoveLine | OtherPayload | ShowOrHideLine => {
            change_log(case, change, at)
        }
        ReturnEarly | LeakSlot | EndTransaction => change_calls(case, change, at),
        _ => change_outcome(case, change, at),
    }
}

fn end(case: &Case, id: usize) -> End {
    case.records[id].ends[0]
}

fn is_delivered(case: &Case, id: usize) -> bool {
    matches!(end(case, id), End::Delivered { .. })
}

/// The offset that the producer named.
fn said(case: &Case, id: usize) -> Option<i64> {
    if let End::Delivered { offset, .. } = end(case, id) { offset } else { None }
}

/// Whether a record has to be in the log.
fn is_required(case: &Case, id: usize) -> bool {
    case.records[id].transaction.is_none_or(|number| case.transactions[number] == Commit::Committed)
}

fn lines(case: &Case) -> std::ops::Range<usize> {
    0..case.log.len()
}

fn change_log(case: &mut Case, change: Change, at: usize) -> Option<Anomaly> {
    match change {
        DropLine => {
            let required = |line: &usize| {
                let id = case.log[*line].id;
                is_required(case, id) && matches!(end(case, id), End::Delivered { .. } | End::Failed(Status::Persisted))
            };
            let line = case.log.remove(pick(lines(case).filter(required), at)?);
            Some(if is_delivered(case, line.id) { Anomaly::LostAck } else { Anomaly::PersistedNotInLog })
        }
        DoubleLine => {
            let mut copy = case.log[pick(lines(case), at)?].clone();
            copy.offset = case.next_offset(copy.topic, copy.partition);
            case.log.push(copy);
            Some(Anomaly::Duplicate)
        }
        SwapLines => {
            let (first, second) = pick(pairs(case, |_, _| true), at)?;
            let known = [first, second].iter().any(|line| said(case, case.log[*line].id).is_some());
            swap_places(case, first, second);
            known.then_some(Anomaly::WrongOffset)
        }
        SwapRecords => {
            let one_lane = |first: usize, second: usize| {
                let [a, b] = [first, second].map(|line| &case.records[case.log[line].id]);
                let written = |line: usize| {
                    let end = end(case, case.log[line].id);
                    matches!(end, End::Delivered { .. } | End::Failed(Status::Persisted))
                };
                let in_order = a.accepted < b.called || b.accepted < a.called;
                a.route == b.route && a.route != Route::Any && in_order && written(first) && written(second)
            };
            let (first, second) = pick(pairs(case, one_lane), at)?;
            swap_places(case, first, second);
            for line in [first, second] {
                let (id, place) = (case.log[line].id, case.log[line].offset);
                if let End::Delivered { offset: Some(offset), .. } = &mut case.records[id].ends[0] {
                    *offset = place;
                }
            }
            Some(Anomaly::Reordered)
        }
        MoveLine => {
            let line = pick(lines(case).filter(|line| said(case, case.log[*line].id).is_some()), at)?;
            case.log[line].offset = case.next_offset(case.log[line].topic, case.log[line].partition);
            Some(Anomaly::WrongOffset)
        }
        OtherPayload => {
            let line = pick(lines(case), at)?;
            case.log[line].payload.push('!');
            Some(Anomaly::WrongBytes)
        }
        ShowOrHideLine => {
            let in_transaction = |line: &usize| case.records[case.log[*line].id].transaction.is_some();
            let line = pick(lines(case).filter(in_transaction), at)?;
            case.log[line].is_visible ^= true;
            let id = case.log[line].id;
            let number = case.records[id].transaction?;
            match case.transactions[number] {
                Commit::Aborted | Commit::Open => Some(Anomaly::AbortedRead),
                // Of one that its caller dropped it is not known whether it was accepted.
                Commit::Committed => is_delivered(case, id).then_some(Anomaly::PartialCommit),
                // One that is not alone makes a part.
                Commit::InDoubt => {
                    let others = |line: &&crate::legal::Line| {
                        case.records[line.id].transaction == Some(number)
                            && line.id != id
                            && is_delivered(case, line.id)
                    };
                    let is_part = is_delivered(case, id) && case.log.iter().any(|line| others(&line));
                    is_part.then_some(Anomaly::PartialCommit)
                }
            }
        }
        _ => unreachable!("a change of something else"),
    }
}

/// Pairs of lines of one partition.
fn pairs(case: &Case, fit: impl Fn(usize, usize) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let all = lines(case).flat_map(|first| (0..first).map(move |second| (second, first)));
    let place = |line: usize| (case.log[line].topic, case.log[line].partition);
    let fitting: Vec<_> = all.filter(|&(a, b)| place(a) == place(b) && fit(a, b)).collect();
    fitting.into_iter()
}

fn swap_places(case: &mut Case, first: usize, second: usize) {
    let offset = case.log[first].offset;
    case.log[first].offset = case.log[second].offset;
    case.log[second].offset = offset;
}

fn change_outcome(case: &mut Case, change: Change, at: usize) -> Option<Anomaly> {
    let records = 0..case.records.len();
    let is_logged = |id: usize| case.log.iter().any(|line| line.id == id);
    match change {
        DenyWritten => {
            let id = pick(records.filter(|id| is_logged(*id)), at)?;
            let absent = [
                (End::Failed(Status::NotPersisted), Anomaly::G1a),
                (End::Refused, Anomaly::G1a),
                (End::Retracted, Anomaly::RetractedButWritten),
            ];
            let (new, anomaly) = absent[at % absent.len()];
            case.records[id].ends = vec![new];
            Some(anomaly)
        }
        ClaimUnwritten => {
            let id = pick(records.filter(|id| !is_logged(*id) && is_required(case, *id)), at)?;
            let (new, anomaly) = if at.is_multiple_of(2) {
                (End::Delivered { partition: case.records[id].partition, offset: None }, Anomaly::LostAck)
            } else {
                (End::Failed(Status::Persisted), Anomaly::PersistedNotInLog)
            };
            case.records[id].ends = vec![new];
            Some(anomaly)
        }
        DropOutcome => {
            case.records[pick(records, at)?].ends.clear();
            Some(Anomaly::NoOutcome)
        }
        AddOutcome => {
            let record = &mut case.records[pick(records, at)?];
            record.ends.push(record.ends[0]);
            Some(Anomaly::SecondOutcome)
        }
        OtherOffset => {
            let id = pick(records.filter(|id| said(case, *id).is_some()), at)?;
            if let End::Delivered { offset: Some(offset), .. } = &mut case.records[id].ends[0] {
                *offset += if at.is_multiple_of(2) { 1 } else { -1 };
            }
            Some(Anomaly::WrongOffset)
        }
        OtherPartition => {
            let id = pick(records.filter(|id| is_delivered(case, *id)), at)?;
            if let End::Delivered { partition, .. } = &mut case.records[id].ends[0] {
                *partition += 1;
            }
            Some(Anomaly::WrongOffset)
        }
        DelayOutcome => {
            let id = pick(records.filter(|id| end(case, *id) != End::Dropped), at)?;
            case.records[id].ended = case.records[id].called + TIMEOUT + 1;
            Some(Anomaly::LateTimeout)
        }
        HandBackOther => {
            let id = pick(records.filter(|id| case.records[*id].handed_back.is_some()), at)?;
            case.records[id].handed_back = Some("order 0!".into());
            Some(Anomaly::WrongBytes)
        }
        _ => unreachable!("a change of something else"),
    }
}

fn change_calls(case: &mut Case, change: Change, at: usize) -> Option<Anomaly> {
    match change {
        ReturnEarly => {
            let waits = |index: &usize| {
                let flush = &case.flushes[*index];
                let latest = case.meant(flush.operation, flush.begun).map(|record| record.ended).max();
                latest.is_some_and(|latest| latest > flush.begun)
            };
            let flush = pick((0..case.flushes.len()).filter(waits), at)?;
            // The close would wait for the slots after it.
            if case.flushes[flush].operation == Operation::Close {
                return None;
            }
            case.flushes[flush].returned = case.flushes[flush].begun;
            Some(Anomaly::ReturnedEarly)
        }
        LeakSlot => {
            let all = case.records.len();
            let late = |end: &End| matches!(end, End::Dropped | End::Failed(_));
            let observed = pick(0..case.slots.len(), at)?;
            let is_last = observed + 1 == case.slots.len();
            let more = if is_last { 1 } else { 1 + case.records.iter().filter(|record| late(&record.ends[0])).count() };
            case.slots[observed].1 = (case.slots[observed].1 + more).min(all + 1);
            Some(Anomaly::SlotLeak)
        }
        EndTransaction => {
            let number = pick(0..case.transactions.len(), at)?;
            let is_part = |line: &&crate::legal::Line| case.records[line.id].transaction == Some(number);
            let delivered = case.log.iter().filter(is_part).find(|line| is_delivered(case, line.id))?;
            let (new, anomaly) = if delivered.is_visible {
                (Commit::Aborted, Anomaly::AbortedRead)
            } else {
                (Commit::Committed, Anomaly::PartialCommit)
            };
            case.transactions[number] = new;
            Some(anomaly)
        }
        _ => unreachable!("a change of something else"),
    }
}

#[test]
fn a_single_change_of_a_random_legal_history_is_found() {
    let found = RefCell::new(BTreeMap::<Change, usize>::new());
    let anomalies = RefCell::new(BTreeMap::<Anomaly, usize>::new());
    let mut runner = TestRunner::new(Config::default());
    let run = runner.run(&(cases(), any::<prop::sample::Index>()), |(case, at)| {
        let at = at.index(10_000);
        for &kind in CHANGES {
            let mut changed = case.clone();
            let Some(anomaly) = change(&mut changed, kind, at) else { continue };
            let verdict = changed.verdict();
            prop_assert!(verdict.count(anomaly) > 0, "{:?} has to be {}, and is\n{}", kind, anomaly, verdict);
            *found.borrow_mut().entry(kind).or_default() += 1;
            *anomalies.borrow_mut().entry(anomaly).or_default() += 1;
        }
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    // Each kind of change, and each anomaly, was among them.
    assert_eq!(found.into_inner().len(), CHANGES.len());
    let anomalies = anomalies.into_inner();
    let missing: Vec<_> = Anomaly::ALL.iter().filter(|anomaly| !anomalies.contains_key(anomaly)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
