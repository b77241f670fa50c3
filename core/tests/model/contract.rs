//! Callers that keep the contract: every answer is what the model says.

use aioproducer_core::{AdmitDecision, Instant, Limits, Phase, PurgeScope, RetractError, SlotId, TopicId};
use core::time::Duration;
use proptest::prelude::*;

use crate::reference::{Accepted, Model};
use crate::steps::{Step, step};
use crate::twin::Twin;
use crate::{Item, lane, limits, shape, with_shape};

struct Run<const SLOTS: usize, const LANES: usize> {
    twin: Twin<SLOTS, LANES>,
    model: Model,
    /// Every id that was ever given, in order.
    ids: Vec<SlotId>,
    settled: Vec<aioproducer_core::MessageBatch>,
    /// What the backend's queue took, lane by lane: its order is the order of acceptance.
    log: Vec<Item>,
    /// Nothing is under way that a close waits for.
    is_settled: bool,
    polls_flushed: bool,
    /// The ends of some flushes were not asked for in time.
    missed_some: bool,
}

impl<const SLOTS: usize, const LANES: usize> Run<SLOTS, LANES> {
    fn step(&mut self, index: usize, step: Step) {
        match step {
            Step::Produce { lane: which, size, own, waited, later } => {
                self.model.pass(later);
                let item = self.item(which, size, own);
                self.produce(item, self.model.now - Duration::from_nanos(waited));
            }
            Step::Admit { lane: which, size, first } => {
                let item = self.item(which, size, None);
                let (admission, evicted) = self.twin.admit(item.lane, item.size, first);
                self.model.admit(index, &item, first, admission, evicted);
                if admission == AdmitDecision::Enter {
                    assert!(first || self.model.has_room(item.lane, size), "there is room when others may make way");
                    self.produce(item, self.model.now);
                }
            }
            Step::Pass(nanos) => self.model.pass(nanos),
            Step::PollBatch { later } => {
                self.model.pass(later);
                self.expire(index);
                let ready = self.model.has_batch();
                let polled = self.twin.poll_batch(self.model.now);
                assert_eq!(polled.is_some(), ready);
                if let Some((batch, records, wanted)) = polled {
                    self.model.cut(batch, records, &wanted);
                }
            }
            Step::Refuse { batch, keep } => self.refuse(batch, keep),
            Step::Settle(which) if !self.model.out.is_empty() => self.settle(which % self.model.out.len()),
            Step::SettleTwice(which) if !self.settled.is_empty() => {
                assert_eq!(self.twin.handle_settled(&self.settled[which % self.settled.len()]), None);
                self.model.stale += 1;
            }
            Step::Report(which) => {
                let entries = self.model.live.iter().filter(|entry| entry.batch.is_some());
                let ids: Vec<_> = entries.map(|entry| entry.id).collect();
                if !ids.is_empty() {
                    self.report(ids[which % ids.len()]);
                }
            }
            Step::ReportKept(which) if !self.model.kept.is_empty() => {
                let kept = self.model.kept.remove(which % self.model.kept.len());
                assert_eq!(self.twin.handle_report(kept.entry.id), None);
                self.model.blocked = false;
                self.model.reported(&kept.entry);
            }
            Step::ReportStale(which) => {
                let id = self.other_id(which, |entry| entry.batch.is_some());
                assert_eq!(self.twin.handle_report(id), None);
                self.model.stale += 1;
            }
            Step::RefuseStale(which) => {
                let open: Vec<u64> = self.model.out.iter().map(|out| out.number).collect();
                let id = self.other_id(which, |entry| entry.batch.is_some_and(|batch| open.contains(&batch)));
                let item = Item { number: u64::MAX, lane: lane(0), size: 1, own: None };
                assert!(!self.twin.handle_refused(id, &item));
                self.model.stale += 1;
            }
            Step::TakeCopy(which) if !self.ids.is_empty() => {
                let id = self.ids[which % self.ids.len()];
                let entry = self.model.live.iter_mut().find(|entry| entry.id == id && entry.batch.is_some());
                let copy = entry.and_then(|entry| std::mem::take(&mut entry.copied).then(|| entry.item.clone()));
                assert_eq!(self.twin.take_copy(id), copy);
            }
            Step::Retract(which) if !self.ids.is_empty() => self.retract(self.ids[which % self.ids.len()]),
            Step::Flush(scope) => {
                let point = self.twin.flush(scope);
                self.model.flush(point);
            }
            Step::Purge { scope, first, stops } => self.purge(index, scope, first, stops),
            Step::Drain => self.drain(index),
            Step::Connected(connected) => {
                self.twin.handle_connected(connected);
                self.model.connected = connected;
            }
            Step::Close(within) => {
                let within = Duration::from_nanos(within);
                let point = self.twin.close(self.model.now, within);
                self.model.close(within);
                self.model.flush(point);
            }
            Step::End => {
                self.twin.end();
                self.model.end_all();
            }
            Step::BackendEnded => {
                self.twin.handle_backend_ended();
                let out = self.model.handle_backend_ended();
                self.settled.extend(out.into_iter().map(|out| out.batch));
            }
            Step::Settled(settled) => self.is_settled = settled,
            Step::PollFlushed(polls) => {
                // A small table has no place for many answers that are not asked for.
                self.missed_some |= !polls;
                self.polls_flushed = polls;
            }
            _ => {}
        }
    }

    fn item(&self, which: usize, size: usize, own: Option<Duration>) -> Item {
        Item { number: self.model.acquired, lane: lane(which), size, own }
    }

    fn produce(&mut self, item: Item, since: Instant) {
        // Whether a lane is available depends on the time, which the machine may not know yet.
        if self.twin.now() == self.model.now {
            assert_eq!(self.twin.has_room(item.lane, item.size), self.model.has_room(item.lane, item.size));
        }
        let result = self.twin.produce(self.model.now, since, &item);
        assert_eq!(result.err(), self.model.refusal(&item));
        if let Ok(id) = result {
            assert!(!self.ids.contains(&id), "a tag given twice");
            self.ids.push(id);
            self.model.accept(id, item, since);
        }
    }

    fn refuse(&mut self, which: usize, keep: usize) {
        let at = which % self.model.out.len().max(1);
        let Some(out) = self.model.out.get(at).filter(|out| out.refused.is_none()) else { return };
        let (number, members) = (out.number, out.members.clone());
        let mut refused = 0;
        for (id, item) in members.into_iter().skip(keep) {
            if let Some(entry) = self.model.live.iter_mut().find(|entry| entry.id == id) {
                assert!(self.twin.handle_refused(id, &item));
                (entry.batch, entry.copied) = (None, false);
                self.model.purge_refused(item.number, number);
                refused += 1;
            } else if let Some(at) = self.model.kept.iter().position(|kept| kept.entry.id == id) {
                assert!(!self.twin.handle_refused(id, &item), "it has ended");
                self.model.kept.remove(at);
                refused += 1;
            }
        }
        self.model.out[at].refused = Some(refused);
    }

    fn settle(&mut self, at: usize) {
        let (batch, members) = (self.model.out[at].batch.clone(), self.model.out[at].members.clone());
        let number = self.model.out[at].number;
        let hopeless = self.model.settle(at);
        assert_eq!(self.twin.handle_settled(&batch), hopeless);
        for (id, item) in members {
            let taken = |entry: &&Accepted| entry.id == id && entry.batch == Some(number);
            if self.model.held().find(taken).is_some() {
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
        self.model.reported(&entry);
        assert_eq!((entry.id, entry.lane), (id, completed.lane));
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

    /// Takes back all that was not handed off, but for lanes whose batch is out.
    fn drain(&mut self, step: usize) {
        self.model.note_places(step);
        while let Some(item) = self.twin.poll_drained() {
            self.model.check_is_next(&item, "drained");
            self.model.end(item.number);
            self.model.note_places(step);
        }
        assert!(self.model.live.iter().all(|entry| entry.batch.is_some() || self.model.is_out(entry.lane)));
    }

    /// Another record comes while the first ones are given back.
    fn purge(&mut self, step: usize, scope: PurgeScope, first: usize, stops: bool) {
        self.twin.purge(scope);
        self.model.purge(scope);
        if !self.model.to_purge().is_empty() {
            assert!(!self.twin.has_batch(), "what is to be purged may not be handed off");
            assert_eq!(self.twin.poll_batch(self.model.now), None);
        }
        self.poll_purged(step, first);
        let item = self.item(first, 1, None);
        self.produce(item, self.model.now);
        if stops {
            self.twin.stop_purge();
            self.model.stop_purge();
        }
    }

    fn poll_purged(&mut self, step: usize, count: usize) {
        for _ in 0..count {
            let Some(item) = self.twin.poll_purged() else {
                assert_eq!(self.model.to_purge(), [], "forgotten by the purge");
                return;
            };
            assert!(self.model.to_purge().contains(&item.number), "nothing asked for its purge");
            let lane = self.model.lane(item.number);
            let first = self.model.buffered(lane).first().map(|entry| entry.item.number);
            assert_eq!(first, Some(item.number), "purged out of order");
            self.model.end(item.number);
            self.model.note_places(step);
        }
    }

    /// An id that was given before, or never, but is none of those excepted.
    fn other_id(&self, which: usize, except: impl Fn(&Accepted) -> bool) -> SlotId {
        let excepted = |id: SlotId| self.model.held().any(|entry| entry.id == id && except(entry));
        let given = self.ids.get(which % (self.ids.len() + 1)).copied().filter(|id| !excepted(*id));
        given.unwrap_or(SlotId::new(which as u32, u32::MAX))
    }

    /// What the contract asks for first: records that have ended without a report.
    fn expire(&mut self, step: usize) {
        self.poll_purged(step, usize::MAX);
        self.model.relieve(step);
        let mut expected = self.model.expired();
        let mut last = Instant::ZERO;
        while let Some((ended, handed_off, record)) = self.twin.poll_expired(self.model.now) {
            let at = expected.iter().position(|number| *number == ended.ticket).expect("expired too early");
            expected.remove(at);
            let entry = self.model.live.iter().find(|entry| entry.item.number == ended.ticket).expect("it lives");
            let deadline = self.model.deadline(entry).expect("it has one");
            assert!(last <= deadline, "a later deadline came first");
            last = deadline;
            assert_eq!((handed_off, ended.slot), (entry.batch.is_some(), entry.id));
            assert!(!handed_off || self.model.limits.delivery_timeout.is_some() || entry.item.own.is_some());
            let has_record = !handed_off || entry.copied;
            assert_eq!(record, has_record.then(|| entry.item.clone()));
            if handed_off {
                self.model.end_late(ended.ticket);
            } else {
                self.model.end(ended.ticket);
            }
        }
        assert_eq!(expected, [], "did not expire");
        assert_eq!(self.twin.poll_expired(Instant::ZERO), None, "time ran backwards");
        self.model.give_up_late();
        self.model.relieve(step);
        self.give_back(step);
    }

    /// What an end gives back.
    fn give_back(&mut self, step: usize) {
        while let Some((ended, handed_off, record)) = self.twin.poll_unsent() {
            assert_eq!(self.model.phase, Phase::Ending, "it does not end");
            let entry = self.model.live.iter().find(|entry| entry.item.number == ended.ticket).expect("it lives");
            assert_eq!(handed_off, entry.batch.is_some());
            let has_record = !handed_off || entry.copied;
            assert_eq!(record, has_record.then(|| entry.item.clone()));
            if handed_off {
                assert!(self.model.backend_gone, "the backend has it");
                assert_eq!(ended.ticket, self.model.live[0].item.number, "not the oldest");
            } else {
                self.model.check_is_next(&record.expect("buffered"), "unsent");
            }
            self.model.end(ended.ticket);
            self.model.note_places(step);
        }
        if matches!(self.model.phase, Phase::Ending | Phase::Ended) {
            let waits = |entry: &&Accepted| entry.batch.is_none() && !self.model.is_out(entry.lane);
            assert_eq!(self.model.live.iter().filter(waits).count(), 0, "not given back");
            if self.model.backend_gone {
                assert!(self.model.live.is_empty(), "not given up");
                self.model.kept.retain(|kept| kept.late.is_none());
                self.model.phase = Phase::Ended;
            }
        }
    }

    /// Flushes hear of their end when the last of their records has ended, and not before.
    fn check_flushes(&mut self) {
        while self.polls_flushed
            && let Some(flushed) = self.twin.poll_flushed()
        {
            let model = &self.model;
            let reached = model.flushes.iter().filter(|flush| flush.point.position() < flushed.below);
            let early = reached.filter(|flush| flush.waits.contains(&flushed.group));
            let left: usize = early.map(|flush| model.left_in(flushed.group, flush.point.position())).sum();
            assert_eq!(left, 0, "a flush ended early");
            for flush in &mut self.model.flushes {
                if flush.point.position() < flushed.below {
                    flush.waits.retain(|group| *group != flushed.group);
                }
            }
        }
        for flush in &self.model.flushes {
            let left = |group| self.model.left_in(group, flush.point.position());
            let groups = flush.point.scope().groups();
            let expected: usize = groups.into_iter().flatten().map(left).sum();
            assert_eq!(self.twin.left_of(flush.point), expected, "{:?}", flush.point);
            let hears = !self.polls_flushed || flush.waits.iter().all(|group| left(*group) > 0);
            assert!(hears || self.missed_some, "a flush did not hear of its end");
        }
    }

    fn check(&mut self, step: usize) {
        self.poll_purged(step, usize::MAX);
        assert_eq!(self.twin.stats(), self.model.stats(), "before expiry");
        self.expire(step);
        self.check_flushes();
        loop {
            let action = self.twin.poll_action(self.is_settled);
            assert_eq!(action, self.model.action(self.is_settled));
            if action.is_none() {
                break;
            }
        }
        // An end has records to give back, and a flush may be over by that.
        self.model.note_places(step);
        self.give_back(step);
        self.check_flushes();
        assert_eq!(self.twin.phase(), self.model.phase);
        assert_eq!(self.twin.stats(), self.model.stats());
        assert_eq!(self.twin.now(), self.model.now);
        assert_eq!(self.twin.has_batch(), self.model.has_batch());
        for lane in (0..crate::LANES).map(lane) {
            assert_eq!(self.twin.len_of(lane), self.model.len_in(|other| other == lane));
            assert_eq!(self.twin.needs_lane(lane), !self.model.lanes().contains(&lane));
            assert_eq!(self.twin.is_unavailable(lane), self.model.is_unavailable(lane));
        }
        assert_eq!(self.twin.shares_due(), self.model.shares_due());
        assert_eq!(self.twin.lane_stats(), self.model.lane_stats());
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
        (self.is_settled, self.polls_flushed) = (true, true);
        self.step(first, Step::Connected(true));
        self.step(first, Step::Close(1_000_000));
        self.check(first);
        for step in first + 1.. {
            if self.model.live.is_empty() && self.model.out.is_empty() && self.model.kept.is_empty() {
                break;
            }
            assert!(step < first + 500, "does not come to an end");
            self.step(step, Step::PollBatch { later: 0 });
            self.check(step);
            self.step(step, Step::Settle(0));
            self.check(step);
            self.step(step, Step::Report(0));
            self.step(step, Step::ReportKept(0));
            self.check(step);
        }
        assert!(matches!(self.twin.phase(), Phase::Ending | Phase::Ended));
        self.step(first, Step::BackendEnded);
        self.check(first);
        assert_eq!(self.twin.phase(), Phase::Ended);
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
        log: Vec::new(),
        is_settled: true,
        polls_flushed: true,
        missed_some: false,
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
