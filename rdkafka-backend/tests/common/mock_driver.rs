//! A driver that checks the outcome of every record.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use aioproducer_core::backend::{
    Answer, CallError, CallId, Copied, Delivered, Driver, Failure, Outcome, Report, Trouble, Unsent,
};
use aioproducer_core::{BatchLimits, CutReason, Lane, MessageBatch, Record, SlotId, TopicId};

use super::LIMIT;
use super::record::{Payload, Rec};

pub(crate) type RecordResult = Result<Delivered, (Failure, Rec)>;

type Waiting = VecDeque<(SlotId, Rec)>;

#[derive(Default)]
pub(super) struct State {
    /// With the waiting records, and whether a batch is out.
    pub(super) lanes: Vec<(Lane, Waiting, bool)>,
    pub(super) free: Vec<u32>,
    pub(super) generations: Vec<u32>,
    /// By slot: the id of the record that is out, and its lane.
    pub(super) out: HashMap<SlotId, (u64, Lane)>,
    pub(super) results: HashMap<u64, RecordResult>,
    pub(super) refusals: usize,
    /// Failed records that came back as a copy.
    pub(super) copies: usize,
    pub(super) waiting_for_reports: bool,
    pub(super) flushing: bool,
    pub(super) fatal: Option<Failure>,
    /// The backend has said why it delivers nothing.
    pub(super) is_troubled: bool,
    pub(super) answers: Vec<(CallId, Result<Answer, CallError>)>,
    pub(super) ended: bool,
    /// The threads that have handed off batches.
    pub(super) settled_by: Vec<ThreadId>,
    /// Workers that ask for a batch are blocked.
    pub(super) held: bool,
    /// A worker is blocked.
    pub(super) holds: bool,
    pub(super) violations: Vec<String>,
}

/// Keeps lanes exclusive, and offers no batch after a refusal until a report arrives.
pub(crate) struct MockDriver {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) batch: usize,
    pub(super) topics: Vec<String>,
}

impl MockDriver {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn wait(&self, what: &str, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, timeout) = self.changed.wait_timeout_while(self.lock(), LIMIT, |state| !done(state)).unwrap();
        assert!(!timeout.timed_out(), "{what}: {} results, {} out", state.results.len(), state.out.len());
        state
    }

    fn resolve(state: &mut State, slot: SlotId, result: RecordResult) {
        if state.ended {
            state.violations.push(format!("{slot:?} after the end"));
        }
        let Some((id, _)) = state.out.remove(&slot) else {
            return state.violations.push(format!("{slot:?} is not out"));
        };
        if let Err((_, record)) = &result
            && record.id != id
        {
            state.violations.push(format!("{} came back for {id}", record.id));
        }
        if state.results.insert(id, result).is_some() {
            state.violations.push(format!("{id} twice"));
        }
        state.generations[slot.index()] += 1;
        state.free.push(slot.index() as u32);
    }
}

impl Driver<Rec> for MockDriver {
    fn take(&self, records: &mut Vec<(SlotId, Rec)>) -> Option<MessageBatch> {
        let mut state = self.lock();
        state.holds = state.held;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.held).unwrap();
        if state.waiting_for_reports && !state.out.is_empty() {
            return None;
        }
        let State { lanes, out, .. } = &mut *state;
        let (lane, queue, busy) = lanes.iter_mut().find(|(_, queue, busy)| !busy && !queue.is_empty())?;
        *busy = true;
        let lane = *lane;
        let count = queue.len().min(self.batch);
        let start = records.len();
        records.extend(queue.drain(..count));
        let taken = &records[start..];
        out.extend(taken.iter().map(|(slot, record)| (*slot, (record.id, lane))));
        let limits = BatchLimits { records: u32::MAX, bytes: usize::MAX };
        let sizes = taken.iter().map(|(_, record)| (record.lane(), record.size()));
        Some(MessageBatch::create(limits, lane, CutReason::Idle, sizes).unwrap())
    }

    fn settle<I: Iterator<Item = Unsent<Rec>>>(&self, batch: MessageBatch, unsent: I) {
        let mut state = self.lock();
        let mut refused = VecDeque::new();
        for unsent in unsent {
            match unsent {
                Unsent::Refused(slot, record) => {
                    assert_eq!(state.out.remove(&slot), Some((record.id, record.lane())));
                    refused.push_back((slot, record));
                }
                Unsent::Rejected(slot, failure, record) => Self::resolve(&mut state, slot, Err((failure, record))),
            }
        }
        state.settled_by.push(thread::current().id());
        state.refusals += refused.len();
        state.waiting_for_reports |= !refused.is_empty();
        let (_, queue, busy) = state.lanes.iter_mut().find(|(lane, ..)| *lane == batch.lane()).unwrap();
        *busy = false;
        refused.append(queue);
        *queue = refused;
        self.changed.notify_all();
    }

    fn report<I: Iterator<Item = Report<Rec>>>(&self, reports: I) {
        let mut state = self.lock();
        for Report { slot, outcome } in reports {
            let result = match outcome {
                Outcome::Delivered(at) => Ok(at),
                Outcome::Failed(failure, record) => Err((failure, record)),
                Outcome::FailedCopy(failure, Copied { key, payload, .. }) => {
                    state.copies += 1;
                    let (id, lane) = state.out[&slot];
                    let (topic, partition, payload) = (lane.topic().0, lane.partition(), payload.map(Payload));
                    Err((failure, Rec { id, topic, partition, key, payload, ..Rec::default() }))
                }
            };
            Self::resolve(&mut state, slot, result);
        }
        state.waiting_for_reports = false;
        self.changed.notify_all();
    }

    fn is_flushing(&self) -> bool {
        let state = self.lock();
        state.flushing && !(state.out.is_empty() && state.lanes.iter().all(|(_, queue, _)| queue.is_empty()))
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.topics.get(topic.0 as usize).map(String::as_str)
    }

    fn fatal(&self, failure: Failure) {
        self.lock().fatal = Some(failure);
        self.changed.notify_all();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        let mut state = self.lock();
        if state.ended {
            state.violations.push(format!("{id:?} was answered after the end"));
        }
        if result.as_ref().is_err_and(|error| error.is_fatal()) && state.fatal.is_none() {
            state.violations.push(format!("{id:?} was answered before the fatal error was reported"));
        }
        state.answers.push((id, result));
        self.changed.notify_all();
    }

    fn set_trouble(&self, _topic: Option<TopicId>, trouble: Option<Trouble>) {
        self.lock().is_troubled = trouble.is_some();
        self.changed.notify_all();
    }

    fn ended(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}
