//! Callers that keep the contract: every answer is what the model says.

use aioproducer_core::{FlushPoint, Instant, Limits, RetractError, SlotId, TopicId};
use proptest::prelude::*;

use crate::reference::Model;
use crate::twin::Twin;
use crate::{Item, lane, limits, shape, with_shape};

#[derive(Clone, Debug)]
enum Step {
    Produce {
        lane: usize,
        size: usize,
        later: u64,
    },
    Pass(u64),
    PollBatch {
        later: u64,
    },
    /// The backend's queue takes `keep` of the batch and refuses the others.
    Refuse {
        batch: usize,
        keep: usize,
    },
    Settle(usize),
    SettleTwice(usize),
    Report(usize),
    /// The report of a record that was given up.
    ReportOverdue(usize),
    ReportStale(usize),
    RefuseStale(usize),
    Retract(usize),
    Flush,
    Drain,
    Abandon,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![3 => Just(0_u64), 1 => 0_u64..30];
    prop_oneof![
        30 => (0_usize..7, 0_usize..60, later.clone()).prop_map(|(lane, size, later)| Step::Produce { lane, size, later }),
        10 => (0_u64..50).prop_map(Step::Pass),
        14 => later.prop_map(|later| Step::PollBatch { later }),
        6 => (any::<usize>(), 0_usize..5).prop_map(|(batch, keep)| Step::Refuse { batch, keep }),
        10 => any::<usize>().prop_map(Step::Settle),
        1 => any::<usize>().prop_map(Step::SettleTwice),
        14 => any::<usize>().prop_map(Step::Report),
        6 => any::<usize>().prop_map(Step::ReportOverdue),
        3 => any::<usize>().prop_map(Step::ReportStale),
        2 => any::<usize>().prop_map(Step::RefuseStale),
        7 => any::<usize>().prop_map(Step::Retract),
        4 => Just(Step::Flush),
        1 => Just(Step::Drain),
        1 => Just(Step::Abandon),
        1 => prop_oneof![5 => Just(Step::Flush), 1 => Just(Step::Close)],
    ]
}

struct Run<const SLOTS: usize, const LANES: usize> {
    twin: Twin<SLOTS, LANES>,
    model: Model,
    /// Every id that was ever given, in order.
    ids: Vec<SlotId>,
    settled: Vec<aioproducer_core::MessageBatch>,
    points: Vec<(FlushPoint, u64)>,
    /// What the backend's queue took, lane by lane: its order is the order of acceptance.
    log: Vec<Item>,
}

impl<const SLOTS: usize, const LANES: usize> Run<SLOTS, LANES> {
    fn step(&mut self, index: usize, step: Step) {
        match step {
            Step::Produce { lane: which, size, later } => {
                self.model.pass(later);
                let item = Item { number: self.model.acquired, lane: lane(which), size };
                self.produce(item);
            }
            Step::Pass(nanos) => self.model.pass(nanos),
            Step::PollBatch { later } => {
                self.model.pass(later);
                self.expire(index);
                let ready = self.model.has_batch();
                let polled = self.twin.poll_batch(self.model.now);
                assert_eq!(polled.is_some(), ready);
                if let Some((batch, records)) = polled {
                    self.model.cut(batch, records);
                }
            }
            Step::Refuse { batch, keep } => self.refuse(batch, keep),
            Step::Settle(which) if !self.model.out.is_empty() => self.settle(which % self.model.out.len()),
            Step::SettleTwice(which) if !self.settled.is_empty() => {
                assert_eq!(self.twin.handle_settled(&self.settled[which % self.settled.len()]), None);
                self.model.stale += 1;
            }
            Step::Report(which) if self.model.handed_off() > 0 => {
                let entries = self.model.live.iter().filter(|entry| entry.batch.is_some());
                let id = entries.map(|entry| entry.id).nth(which % self.model.handed_off()).expect("handed off");
                self.report(id);
            }
            Step::ReportOverdue(which) if !self.model.overdue.is_empty() => {
                let entry = self.model.overdue.remove(which % self.model.overdue.len());
                assert_eq!(self.twin.handle_report(entry.id), None);
                self.model.blocked = false;
            }
            Step::ReportStale(which) => {
                let id = self.other_id(which, |entry| entry.batch.is_some());
                assert_eq!(self.twin.handle_report(id), None);
                self.model.stale += 1;
            }
            Step::RefuseStale(which) => {
                let open: Vec<u64> = self.model.out.iter().map(|out| out.number).collect();
                let id = self.other_id(which, |entry| entry.batch.is_some_and(|batch| open.contains(&batch)));
                let item = Item { number: u64::MAX, lane: lane(0), size: 1 };
                assert!(!self.twin.handle_refused(id, &item));
                self.model.stale += 1;
            }
            Step::Retract(which) if !self.ids.is_empty() => self.retract(self.ids[which % self.ids.len()]),
            Step::Flush => self.points.push((self.twin.flush(), self.model.flush())),
            Step::Drain => {
                let drained = self.twin.drain();
                for (at, item) in drained.iter().enumerate() {
                    let before = drained[..at].iter().rev().find(|before| before.lane == item.lane);
                    assert!(before.is_none_or(|before| before.number < item.number), "a lane's are in order");
                }
                drained.iter().for_each(|item| assert!(self.model.end(item.number).batch.is_none()));
                assert_eq!(self.model.live.len(), self.model.handed_off());
            }
            Step::Abandon => {
                self.step(index, Step::Drain);
                let abandoned = self.twin.abandon();
                abandoned.iter().for_each(|number| assert!(self.model.end(*number).batch.is_some()));
                assert_eq!(self.model.handed_off(), 0);
            }
            Step::Close => {
                self.points.push((self.twin.close(), self.model.flush()));
                self.model.closed = true;
            }
            _ => {}
        }
    }

    fn produce(&mut self, item: Item) {
        assert_eq!(self.twin.has_room(item.lane, item.size), self.model.has_room(item.lane, item.size));
        let result = self.twin.produce(self.model.now, &item);
        assert_eq!(result.err(), self.model.refusal(&item));
        if let Ok(id) = result {
            assert!(!self.ids.contains(&id), "a tag given twice");
            self.ids.push(id);
            self.model.accept(id, item);
        }
    }

    fn refuse(&mut self, which: usize, keep: usize) {
        let out = &mut self.model.out;
        let count = out.len().max(1);
        let Some(out) = out.get_mut(which % count).filter(|out| out.refused.is_none()) else { return };
        let mut refused = 0;
        for (id, item) in out.members.iter().skip(keep) {
            let Some(entry) = self.model.live.iter_mut().find(|entry| entry.id == *id) else { continue };
            assert!(self.twin.handle_refused(*id, item));
            entry.batch = None;
            refused += 1;
        }
        out.refused = Some(refused);
    }

    fn settle(&mut self, at: usize) {
        let (batch, members) = (self.model.out[at].batch.clone(), self.model.out[at].members.clone());
        let number = self.model.out[at].number;
        let hopeless = self.model.settle(at);
        assert_eq!(self.twin.handle_settled(&batch), hopeless);
        for (id, item) in members {
            let taken = |entry: &&crate::reference::Entry| entry.id == id && entry.batch == Some(number);
            if self.model.live.iter().find(taken).is_some() {
                let before = self.log.iter().rev().find(|before| before.lane == item.lane);
                assert!(before.is_none_or(|before| before.number < item.number), "out of order");
                self.log.push(item);
            }
        }
        self.settled.push(batch);
    }

    fn report(&mut self, id: SlotId) {
        let completed = self.twin.handle_report(id).expect("handed off");
        let entry = self.model.end(completed.ticket);
        assert_eq!((entry.id, entry.item.lane), (id, completed.lane));
        assert_eq!((entry.accepted_at, entry.item.number), (completed.accepted_at, completed.sequence));
    }

    fn retract(&mut self, id: SlotId) {
        let expected = match self.model.live.iter().find(|entry| entry.id == id) {
            Some(entry) if entry.batch.is_none() => Ok(entry.item.clone()),
            Some(_) => Err(RetractError::HandedOff),
            None => Err(RetractError::Ended),
        };
        assert_eq!(self.twin.retract(id), expected);
        if let Ok(item) = expected {
            self.model.end(item.number);
        }
    }

    /// An id that was given before, or never, but is none of those excepted.
    fn other_id(&self, which: usize, except: impl Fn(&crate::reference::Entry) -> bool) -> SlotId {
        let held = || self.model.live.iter().chain(&self.model.overdue);
        let excepted = |id: SlotId| held().any(|entry| entry.id == id && except(entry));
        let given = self.ids.get(which % (self.ids.len() + 1)).copied().filter(|id| !excepted(*id));
        given.unwrap_or(SlotId::new(which as u32, u32::MAX))
    }

    fn expire(&mut self, step: usize) {
        let mut expected = self.model.expired();
        let mut last = Instant::ZERO;
        while let Some(item) = self.twin.poll_expired(self.model.now) {
            let at = expected.iter().position(|number| *number == item.number).expect("expired too early");
            expected.remove(at);
            let entry = self.model.end(item.number);
            assert!(last <= entry.accepted_at, "a later deadline came first");
            last = entry.accepted_at;
        }
        assert_eq!(expected, [], "did not expire");
        assert_eq!(self.twin.poll_expired(Instant::ZERO), None, "time ran backwards");
        while let Some(overdue) = self.twin.poll_overdue(self.model.now) {
            assert!(self.model.report_due().is_some_and(|at| at <= self.model.now), "given up too early");
            let entry = self.model.give_up();
            assert_eq!((overdue.slot, overdue.ticket, overdue.lane), (entry.id, entry.item.number, entry.item.lane));
        }
        assert!(self.model.report_due().is_none_or(|at| at > self.model.now), "was not given up");
        self.model.note_ready(step);
    }

    fn check(&mut self, step: usize) {
        assert_eq!(self.twin.stats(), self.model.stats(), "before expiry");
        self.expire(step);
        assert_eq!(self.twin.stats(), self.model.stats());
        assert_eq!(self.twin.now(), self.model.now);
        assert_eq!(self.twin.has_batch(), self.model.has_batch());
        for (point, below) in &self.points {
            assert_eq!(self.twin.is_flushed(*point), self.model.len_before(*below) == 0);
        }
        for lane in (0..crate::LANES).map(lane) {
            assert_eq!(self.twin.len_of(lane), self.model.len_in(|other| other == lane));
            assert_eq!(self.twin.needs_lane(lane), !self.model.lanes().contains(&lane));
        }
        for topic in [0, 1].map(TopicId) {
            assert_eq!(self.twin.len_in(topic), self.model.len_in(|lane| lane.topic() == topic));
        }
        let timeout = self.twin.poll_timeout();
        let expected = self.model.timeout();
        assert_eq!(timeout.map(|timeout| timeout.at), expected.as_ref().map(|expected| expected.0));
        if let (Some(timeout), Some((_, reasons))) = (timeout, expected) {
            assert!(reasons.contains(&timeout.reason));
        }
    }

    /// Everything still held comes to its end; then nothing is held and every row is free again.
    fn finish(&mut self, first: usize) {
        self.points.push((self.twin.close(), self.model.flush()));
        self.model.closed = true;
        self.check(first);
        for step in first + 1.. {
            if self.model.live.is_empty() && self.model.out.is_empty() && self.model.overdue.is_empty() {
                break;
            }
            assert!(step < first + 500, "does not come to an end");
            self.step(step, Step::PollBatch { later: 0 });
            self.check(step);
            self.step(step, Step::Settle(0));
            self.check(step);
            self.step(step, Step::Report(0));
            self.step(step, Step::ReportOverdue(0));
            self.check(step);
        }
        for index in 0..crate::LANES {
            assert!(self.twin.has_room(lane(index), 0), "a row was lost");
        }
    }
}

fn run<const SLOTS: usize, const LANES: usize>(mut limits: Limits, steps: Vec<Step>) {
    limits.batch_records = limits.batch_records.min(SLOTS as u32);
    let mut run = Run::<SLOTS, LANES> {
        twin: Twin::new(limits),
        model: Model::new(limits, SLOTS, LANES),
        ids: Vec::new(),
        settled: Vec::new(),
        points: Vec::new(),
        log: Vec::new(),
    };
    let count = steps.len();
    for (index, step) in steps.into_iter().enumerate() {
        run.step(index, step);
        run.check(index);
    }
    run.finish(count);
}

proptest! {
    #[test]
    fn answers_are_the_models(shape in shape(), limits in limits(), steps in prop::collection::vec(step(), 1..160)) {
        with_shape!(shape, run(limits, steps));
    }
}
