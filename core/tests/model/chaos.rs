//! Callers that break the contract: nothing panics, nothing is lost or doubled, and the machine still works after.

use std::collections::HashSet;

use aioproducer_core::{Instant, Limits, MessageBatch, SlotId};
use core::time::Duration;
use proptest::prelude::*;

use crate::twin::Twin;
use crate::{Item, lane, limits, shape, with_shape};

#[derive(Clone, Debug)]
enum Call {
    Produce {
        lane: usize,
        size: usize,
        at: u64,
    },
    PollBatch(u64),
    PollExpired(u64),
    PollOverdue(u64),
    PollTimeout,
    /// Any record at all, in any order, whether its batch is out or not.
    Refuse(usize),
    /// Any batch, as often as one likes.
    Settle(usize),
    Report(usize),
    ReportBits(u64),
    Retract(usize),
    Flush,
    Drain,
    Abandon,
}

fn call() -> impl Strategy<Value = Call> {
    let at = || 0_u64..2_000;
    prop_oneof![
        24 => (0_usize..7, 0_usize..60, at()).prop_map(|(lane, size, at)| Call::Produce { lane, size, at }),
        12 => at().prop_map(Call::PollBatch),
        6 => at().prop_map(Call::PollExpired),
        4 => at().prop_map(Call::PollOverdue),
        4 => Just(Call::PollTimeout),
        12 => any::<usize>().prop_map(Call::Refuse),
        10 => any::<usize>().prop_map(Call::Settle),
        8 => any::<usize>().prop_map(Call::Report),
        1 => any::<u64>().prop_map(Call::ReportBits),
        8 => any::<usize>().prop_map(Call::Retract),
        2 => Just(Call::Flush),
        1 => Just(Call::Drain),
        1 => Just(Call::Abandon),
    ]
}

struct Run<const SLOTS: usize, const LANES: usize> {
    twin: Twin<SLOTS, LANES>,
    ids: Vec<SlotId>,
    lent: Vec<(SlotId, Item)>,
    batches: Vec<MessageBatch>,
    accepted: u64,
    ended: HashSet<u64>,
}

impl<const SLOTS: usize, const LANES: usize> Run<SLOTS, LANES> {
    fn end(&mut self, number: u64) {
        assert!(number < self.accepted, "never accepted");
        assert!(self.ended.insert(number), "ended twice");
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Produce { lane: index, size, at } => {
                let item = Item { number: self.accepted, lane: lane(index), size };
                if let Ok(id) = self.twin.produce(Instant::from_nanos(at), &item) {
                    self.ids.push(id);
                    self.accepted += 1;
                }
            }
            Call::PollBatch(at) => self.take(Instant::from_nanos(at)),
            Call::PollExpired(at) => {
                if let Some(item) = self.twin.poll_expired(Instant::from_nanos(at)) {
                    self.end(item.number);
                }
            }
            Call::PollOverdue(at) => {
                if let Some(overdue) = self.twin.poll_overdue(Instant::from_nanos(at)) {
                    self.end(overdue.ticket);
                }
            }
            Call::PollTimeout => drop(self.twin.poll_timeout()),
            Call::Refuse(which) if !self.lent.is_empty() => {
                let (id, item) = self.lent.swap_remove(which % self.lent.len());
                if !self.twin.handle_refused(id, &item) {
                    self.lent.push((id, item));
                }
            }
            Call::Settle(which) if !self.batches.is_empty() => self.settle(which % self.batches.len()),
            Call::Report(which) if !self.ids.is_empty() => self.report(self.ids[which % self.ids.len()]),
            Call::ReportBits(bits) => self.report(SlotId::from_bits(bits)),
            Call::Retract(which) if !self.ids.is_empty() => {
                if let Ok(item) = self.twin.retract(self.ids[which % self.ids.len()]) {
                    self.end(item.number);
                }
            }
            Call::Flush => drop(self.twin.flush()),
            Call::Drain => self.twin.drain().into_iter().for_each(|item| self.end(item.number)),
            Call::Abandon => self.twin.abandon().into_iter().for_each(|number| self.end(number)),
            _ => {}
        }
        let stats = self.twin.stats();
        assert_eq!((stats.in_use - stats.overdue) as u64, self.accepted - self.ended.len() as u64);
        assert_eq!(stats.in_use, stats.buffered + stats.handed_off + stats.overdue);
    }

    fn take(&mut self, now: Instant) {
        if let Some((batch, records)) = self.twin.poll_batch(now) {
            self.lent.extend(records);
            self.batches.push(batch);
        }
    }

    fn settle(&mut self, at: usize) {
        if let Some(item) = self.twin.handle_settled(&self.batches[at]) {
            self.end(item.number);
        }
    }

    fn report(&mut self, id: SlotId) {
        if let Some(completed) = self.twin.handle_report(id) {
            self.end(completed.ticket);
        }
    }

    /// A caller that keeps the contract from now on finds nothing stuck: time alone brings every record out.
    fn recover(&mut self, linger: Duration) {
        let mut now = Instant::from_nanos(2_000);
        for _ in 0..4 * SLOTS + 4 {
            (0..self.batches.len()).for_each(|at| self.settle(at));
            self.ids.clone().into_iter().for_each(|id| self.report(id));
            now = now + linger;
            while let Some(item) = self.twin.poll_expired(now) {
                self.end(item.number);
            }
            if self.twin.stats().in_use == 0 {
                break;
            }
            self.take(now);
        }
        let stats = self.twin.stats();
        assert_eq!((stats.in_use, stats.bytes), (0, 0), "stuck");
        assert_eq!(self.twin.poll_timeout(), None);
        for index in 0..crate::LANES {
            assert!(self.twin.has_room(lane(index), 0), "a row was lost");
        }
    }
}

fn run<const SLOTS: usize, const LANES: usize>(mut limits: Limits, calls: Vec<Call>) {
    limits.batch_records = limits.batch_records.min(SLOTS as u32);
    let mut run = Run::<SLOTS, LANES> {
        twin: Twin::new(limits),
        ids: Vec::new(),
        lent: Vec::new(),
        batches: Vec::new(),
        accepted: 0,
        ended: HashSet::new(),
    };
    calls.into_iter().for_each(|call| run.call(call));
    run.recover(limits.linger);
}

proptest! {
    #[test]
    fn a_broken_contract_breaks_nothing(shape in shape(), limits in limits(), calls in prop::collection::vec(call(), 1..160)) {
        with_shape!(shape, run(limits, calls));
    }
}
