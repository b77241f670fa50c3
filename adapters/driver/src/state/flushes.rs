//! Tasks that wait in flushes. What they wait for is the machine's knowledge.

use std::collections::BTreeMap;
use std::task::Waker;

use aioproducer_core::{FlushGroup, FlushPoint, Flushed};

/// A flush that is under way. It is over when it is not among those that wait any more, and stays over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    id: u64,
    pub(crate) point: FlushPoint,
}

impl Pending {
    fn keys(self) -> impl Iterator<Item = Key> {
        let key = move |group| (group, self.point.position(), self.id);
        self.point.scope().groups().into_iter().flatten().map(key)
    }
}

/// By group and position, since the machine says up to which position a group is flushed.
type Key = (FlushGroup, u64, u64);

/// Groups that a flush waits in, at most.
pub(crate) const GROUPS: usize = 3;

#[derive(Default)]
pub(crate) struct Flushes {
    /// One that waits in several groups is here for each.
    waiting: BTreeMap<Key, (Pending, Waker)>,
    /// Flushes whose records have ended, though their deliveries do not show it yet: some wakers for each.
    completing: BTreeMap<(u64, usize), Waker>,
    next: u64,
}

impl Flushes {
    /// Whether no task waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.completing.is_empty()
    }

    /// A flush that waits for records, with a waker for each of its groups. Those that are not needed come back.
    pub(crate) fn begin(&mut self, point: FlushPoint, wakers: [Waker; GROUPS]) -> (Pending, [Option<Waker>; GROUPS]) {
        let flush = self.new_flush(point);
        let mut wakers = wakers.map(Some);
        for (key, waker) in flush.keys().zip(&mut wakers) {
            self.waiting.extend(waker.take().map(|waker| (key, (flush, waker))));
        }
        (flush, wakers)
    }

    /// A flush that waits for deliveries to show their records' ends.
    pub(crate) fn begin_completing(&mut self, point: FlushPoint, waker: Waker) -> Pending {
        let flush = self.new_flush(point);
        self.completing.insert((flush.id, 0), waker);
        flush
    }

    fn new_flush(&mut self, point: FlushPoint) -> Pending {
        let id = self.next;
        self.next += 1;
        Pending { id, point }
    }

    /// Whether the flush is over. If not, it waits with these wakers from now on. Those that are not needed come back.
    pub(crate) fn poll(&mut self, flush: Pending, wakers: [Waker; GROUPS]) -> (bool, [Option<Waker>; GROUPS]) {
        let mut over = true;
        let mut wakers = wakers.map(Some);
        for (key, waker) in flush.keys().zip(&mut wakers) {
            if let (Some((_, known)), Some(new)) = (self.waiting.get_mut(&key), waker.as_mut()) {
                std::mem::swap(known, new);
                over = false;
            }
        }
        for (part, waker) in wakers.iter_mut().enumerate() {
            if let (Some(known), Some(new)) = (self.completing.get_mut(&(flush.id, part)), waker.as_mut()) {
                std::mem::swap(known, new);
                over = false;
            }
        }
        (over, wakers)
    }

    /// The flush is given up, or over.
    pub(crate) fn leave(&mut self, flush: Pending) -> impl Iterator<Item = Waker> {
        let Self { waiting, completing, .. } = self;
        let left = flush.keys().filter_map(|key| waiting.remove(&key)).map(|(_, waker)| waker);
        left.chain((0..GROUPS).filter_map(move |part| completing.remove(&(flush.id, part))))
    }

    /// A group is flushed up to a position; `is_over` says of a flush whether its other groups are as well. The wakers of flushes
    /// that wait for that one are passed on, the others' when [all deliveries](Self::wake_completing) show it.
    pub(crate) fn reach(&mut self, flushed: Flushed, is_over: impl Fn(FlushPoint) -> bool, wakers: &mut Vec<Waker>) {
        let (first, end) = ((flushed.group, 0, 0), (flushed.group, flushed.below, 0));
        while let Some((&key, _)) = self.waiting.range(first..end).next() {
            let Some((flush, waker)) = self.waiting.remove(&key) else { return };
            if is_over(flush.point) {
                let Self { waiting, completing, .. } = self;
                let others = flush.keys().filter_map(|key| waiting.remove(&key)).map(|(_, waker)| waker);
                let wakers = [waker].into_iter().chain(others).enumerate();
                completing.extend(wakers.map(|(part, waker)| ((flush.id, part), waker)));
            } else {
                wakers.push(waker);
            }
        }
    }

    /// All deliveries show their records' ends.
    pub(crate) fn wake_completing(&mut self, wakers: &mut Vec<Waker>) {
        if !self.completing.is_empty() {
            wakers.extend(std::mem::take(&mut self.completing).into_values());
        }
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use aioproducer_core::{FlushScope, Heap, Instant, Lane, Limits, Producer, SlotId, TopicId};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Accept(usize),
        End(usize),
        Flush(usize),
        GiveUp(usize),
        /// Deliveries are being completed, or have been.
        Complete(bool),
    }

    fn lanes() -> [Lane; 5] {
        let lane = |topic, partition| Lane::new(TopicId(topic), partition);
        [lane(0, None), lane(0, Some(0)), lane(0, Some(1)), lane(1, None), lane(1, Some(0))]
    }

    fn scopes() -> [FlushScope; 6] {
        let [first, second] = [TopicId(0), TopicId(1)];
        let partition = FlushScope::Partition;
        [
            FlushScope::All,
            FlushScope::Topic(first),
            FlushScope::Topic(second),
            partition(first, 0),
            partition(first, 1),
            partition(second, 0),
        ]
    }

    fn has(scope: FlushScope, lane: Lane) -> bool {
        match scope {
            FlushScope::All => true,
            FlushScope::Topic(topic) => lane.topic() == topic,
            FlushScope::Partition(topic, partition) => {
                lane.topic() == topic && lane.partition().is_none_or(|named| named == partition)
            }
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..5_usize).prop_map(Step::Accept),
            6 => any::<usize>().prop_map(Step::End),
            4 => (0..6_usize).prop_map(Step::Flush),
            1 => any::<usize>().prop_map(Step::GiveUp),
            1 => any::<bool>().prop_map(Step::Complete),
        ]
    }

    struct Item(Lane);

    impl aioproducer_core::Record for Item {
        fn lane(&self) -> Lane {
            self.0
        }

        fn size(&self) -> usize {
            1
        }
    }

    struct Waiting {
        flush: Pending,
        below: u64,
        woken: bool,
    }

    fn wakers() -> [Waker; GROUPS] {
        std::array::from_fn(|_| Waker::noop().clone())
    }

    proptest! {
        #[test]
        fn s23_a_flush_ends_with_the_last_of_its_records(steps in prop::collection::vec(step(), 1..200)) {
            let mut machine = Producer::new(Limits::default(), Heap { slots: 2048, lanes: 8 }).expect("limits");
            let mut flushes = Flushes::default();
            let mut live: Vec<(u64, Lane, SlotId)> = Vec::new();
            let mut waiting: Vec<Waiting> = Vec::new();
            let (mut accepted, mut completing) = (0, false);
            for step in steps {
                match step {
                    Step::Accept(lane) => {
                        let lane = lanes()[lane];
                        let slot = machine.produce(Instant::ZERO, Item(lane), ()).ok().expect("room");
                        live.push((accepted, lane, slot));
                        accepted += 1;
                    }
                    Step::End(which) if !live.is_empty() => {
                        let (_, _, slot) = live.swap_remove(which % live.len());
                        prop_assert!(machine.retract(slot).is_ok());
                    }
                    Step::Flush(which) => {
                        let point = machine.flush(scopes()[which]);
                        let any = live.iter().any(|(_, lane, _)| has(point.scope(), *lane));
                        let flush = if any {
                            Some(flushes.begin(point, wakers()).0)
                        } else {
                            completing.then(|| flushes.begin_completing(point, Waker::noop().clone()))
                        };
                        waiting.extend(flush.map(|flush| Waiting { flush, below: accepted, woken: false }));
                    }
                    Step::GiveUp(which) if !waiting.is_empty() => {
                        let given_up = waiting.swap_remove(which % waiting.len()).flush;
                        flushes.leave(given_up).for_each(drop);
                    }
                    Step::Complete(now) => completing = now,
                    Step::End(_) | Step::GiveUp(_) => {}
                }
                while let Some(flushed) = machine.poll_flushed() {
                    flushes.reach(flushed, |point| machine.is_flushed(point), &mut Vec::new());
                }
                if !completing {
                    flushes.wake_completing(&mut Vec::new());
                }
                for one in &mut waiting {
                    let scope = one.flush.point.scope();
                    let meant = |(sequence, lane, _): &&(u64, Lane, SlotId)| *sequence < one.below && has(scope, *lane);
                    let left = live.iter().filter(meant).count();
                    prop_assert_eq!(machine.left_of(one.flush.point), left);
                    let (over, _) = flushes.poll(one.flush, wakers());
                    prop_assert!(left > 0 || over || completing, "nothing is left, and it waits");
                    prop_assert!(!over || left == 0, "it ended early");
                    prop_assert!(over || !one.woken, "it was over before");
                    one.woken |= over;
                }
                prop_assert!(flushes.waiting.len() + flushes.completing.len() <= GROUPS * waiting.len(), "left behind");
            }
        }
    }
}
