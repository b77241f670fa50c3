//! Callers that break the contract: nothing panics, nothing is lost or doubled, and the machine still works after.

use std::collections::HashSet;

use aioproducer_core::{AdmitDecision, FlushPoint, FlushScope, Instant, Limits, MessageBatch, PurgeScope, SlotId};
use core::time::Duration;
use proptest::prelude::*;

use crate::twin::Twin;
use crate::{Item, is_in, lane, limits, own, purge_scope, scope, shape, with_shape};

#[derive(Clone, Debug)]
enum Move {
    Produce {
        lane: usize,
        size: usize,
        own: Option<Duration>,
        at: u64,
    },
    /// A record may be produced after it or not.
    Admit {
        lane: usize,
        size: usize,
        first: bool,
        enters: bool,
    },
    PollBatch(u64),
    PollExpired(u64),
    PollTimeout,
    /// Any record at all, in any order, whether its batch is out or not.
    Refuse(usize),
    /// Any batch, as often as one likes.
    Settle(usize),
    Report(usize),
    ReportBits(u64),
    TakeCopy(usize),
    Retract(usize),
    Flush(FlushScope),
    PollFlushed,
    Purge(PurgeScope),
    StopPurge,
    PollPurged,
    Drain,
    Close {
        at: u64,
        within: u64,
    },
    End,
    BackendEnded,
    PollUnsent,
    PollAction(bool),
}

fn any_move() -> impl Strategy<Value = Move> {
    let at = || 0_u64..2_000;
    let end = prop_oneof![
        30 => scope().prop_map(Move::Flush),
        3 => (at(), 0_u64..500).prop_map(|(at, within)| Move::Close { at, within }),
        1 => Just(Move::End),
        1 => Just(Move::BackendEnded),
    ];
    prop_oneof![
        24 => (0_usize..7, 0_usize..60, own(), at()).prop_map(|(lane, size, own, at)| Move::Produce { lane, size, own, at }),
        4 => (0_usize..7, 0_usize..60, any::<bool>(), any::<bool>())
            .prop_map(|(lane, size, first, enters)| Move::Admit { lane, size, first, enters }),
        12 => at().prop_map(Move::PollBatch),
        6 => at().prop_map(Move::PollExpired),
        4 => Just(Move::PollTimeout),
        12 => any::<usize>().prop_map(Move::Refuse),
        10 => any::<usize>().prop_map(Move::Settle),
        8 => any::<usize>().prop_map(Move::Report),
        1 => any::<u64>().prop_map(Move::ReportBits),
        1 => any::<usize>().prop_map(Move::TakeCopy),
        8 => any::<usize>().prop_map(Move::Retract),
        6 => scope().prop_map(Move::Flush),
        1 => Just(Move::PollFlushed),
        2 => purge_scope().prop_map(Move::Purge),
        1 => Just(Move::StopPurge),
        6 => Just(Move::PollPurged),
        1 => Just(Move::Drain),
        1 => Just(Move::PollUnsent),
        2 => any::<bool>().prop_map(Move::PollAction),
        1 => end,
    ]
}

struct Run<const SLOTS: usize, const LANES: usize> {
    twin: Twin<SLOTS, LANES>,
    ids: Vec<SlotId>,
    items: Vec<Item>,
    lent: Vec<(SlotId, Item)>,
    batches: Vec<MessageBatch>,
    flushes: Vec<FlushPoint>,
    ended: HashSet<u64>,
}

impl<const SLOTS: usize, const LANES: usize> Run<SLOTS, LANES> {
    fn end(&mut self, number: u64) {
        assert!((number as usize) < self.items.len(), "never accepted");
        assert!(self.ended.insert(number), "ended twice");
    }

    fn produce(&mut self, which: usize, size: usize, own: Option<Duration>, at: Instant) {
        let item = Item { number: self.items.len() as u64, lane: lane(which), size, own };
        if let Ok(id) = self.twin.produce(at, at, &item) {
            self.ids.push(id);
            self.items.push(item);
        }
    }

    fn make(&mut self, one: Move) {
        match one {
            Move::Produce { lane, size, own, at } => self.produce(lane, size, own, Instant::from_nanos(at)),
            Move::Admit { lane: which, size, first, enters } => {
                let (admission, evicted) = self.twin.admit(lane(which), size, first);
                evicted.into_iter().for_each(|item| self.end(item.number));
                if enters && admission == AdmitDecision::Enter {
                    self.produce(which, size, None, Instant::ZERO);
                }
            }
            Move::PollBatch(at) => self.take(Instant::from_nanos(at)),
            Move::PollExpired(at) => {
                if let Some((ended, ..)) = self.twin.poll_expired(Instant::from_nanos(at)) {
                    self.end(ended.ticket);
                }
            }
            Move::PollTimeout => drop(self.twin.poll_timeout()),
            Move::Refuse(which) if !self.lent.is_empty() => {
                let (id, item) = self.lent.swap_remove(which % self.lent.len());
                if !self.twin.handle_refused(id, &item) {
                    self.lent.push((id, item));
                }
            }
            Move::Settle(which) if !self.batches.is_empty() => self.settle(which % self.batches.len()),
            Move::Report(which) if !self.ids.is_empty() => self.report(self.ids[which % self.ids.len()]),
            Move::ReportBits(bits) => self.report(SlotId::from_bits(bits)),
            Move::TakeCopy(which) if !self.ids.is_empty() => {
                self.twin.take_copy(self.ids[which % self.ids.len()]);
            }
            Move::Retract(which) if !self.ids.is_empty() => {
                if let Ok(item) = self.twin.retract(self.ids[which % self.ids.len()]) {
                    self.end(item.number);
                }
            }
            Move::Flush(scope) => self.flushes.push(self.twin.flush(scope)),
            Move::PollFlushed => drop(self.twin.poll_flushed()),
            Move::Purge(scope) => self.twin.purge(scope),
            Move::StopPurge => self.twin.stop_purge(),
            Move::PollPurged => self.poll_purged(),
            Move::Drain => {
                if let Some(item) = self.twin.poll_drained() {
                    self.end(item.number);
                }
            }
            Move::Close { at, within } => {
                self.twin.close(Instant::from_nanos(at), Duration::from_nanos(within));
            }
            Move::End => self.twin.end(),
            Move::BackendEnded => self.twin.handle_backend_ended(),
            Move::PollUnsent => self.poll_unsent(),
            Move::PollAction(settled) => drop(self.twin.poll_action(settled)),
            _ => {}
        }
        let stats = self.twin.stats();
        assert_eq!(stats.in_use - stats.overdue - stats.late, self.items.len() - self.ended.len());
        assert_eq!(stats.in_use, stats.buffered + stats.handed_off + stats.overdue);
        for point in &self.flushes {
            let groups = point.scope().groups();
            let waited_for = |item: &&Item| item.number < point.position() && !self.ended.contains(&item.number);
            let left = self.items.iter().filter(waited_for);
            let left = left.filter(|item| groups.into_iter().flatten().any(|group| is_in(group, item.lane))).count();
            assert_eq!(self.twin.left_of(*point), left, "{point:?}");
        }
    }

    fn take(&mut self, now: Instant) {
        if let Some((batch, records, _)) = self.twin.poll_batch(now) {
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

    fn poll_purged(&mut self) {
        if let Some(item) = self.twin.poll_purged() {
            self.end(item.number);
        }
    }

    fn poll_unsent(&mut self) {
        if let Some((ended, ..)) = self.twin.poll_unsent() {
            self.end(ended.ticket);
        }
    }

    /// A caller that keeps the contract from now on finds nothing stuck: time alone brings every record out.
    fn recover(&mut self, linger: Duration) {
        let mut now = Instant::from_nanos(2_000);
        for _ in 0..4 * SLOTS + 4 {
            (0..self.batches.len()).for_each(|at| self.settle(at));
            self.ids.clone().into_iter().for_each(|id| self.report(id));
            for _ in 0..SLOTS + 1 {
                self.poll_purged();
                self.poll_unsent();
            }
            now = now + linger;
            while let Some((ended, ..)) = self.twin.poll_expired(now) {
                self.end(ended.ticket);
            }
            if self.twin.stats().in_use == 0 {
                break;
            }
            self.take(now);
        }
        let stats = self.twin.stats();
        assert_eq!((stats.in_use, stats.bytes), (0, 0), "stuck");
        while self.twin.poll_action(true).is_some() {}
        assert_eq!(self.twin.poll_timeout(), None);
        assert!(self.flushes.iter().all(|point| self.twin.left_of(*point) == 0));
        for index in 0..crate::LANES {
            assert!(self.twin.has_room(lane(index), 0), "a row was lost");
        }
    }
}

fn run<const SLOTS: usize, const LANES: usize>(mut limits: Limits, moves: Vec<Move>) {
    limits.batch_records = limits.batch_records.min(SLOTS as u32);
    let mut run = Run::<SLOTS, LANES> {
        twin: Twin::new(limits),
        ids: Vec::new(),
        items: Vec::new(),
        lent: Vec::new(),
        batches: Vec::new(),
        flushes: Vec::new(),
        ended: HashSet::new(),
    };
    moves.into_iter().for_each(|one| run.make(one));
    run.recover(limits.linger);
}

proptest! {
    #[test]
    fn a_broken_contract_breaks_nothing(shape in shape(), limits in limits(), moves in prop::collection::vec(any_move(), 1..160)) {
        with_shape!(shape, run(limits, moves));
    }
}
