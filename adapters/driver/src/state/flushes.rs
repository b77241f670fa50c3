//! Which records flushes wait for, and how many of them are left.
//!
//! Records count in groups: all of them, those of a topic, those of a lane. A flush waits at a point in one group or two. Each
//! point counts the records that were accepted between the point before it and itself and that have not ended. So the end of
//! a record costs a search among the points of its groups, however many flushes and records there are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::Waker;

use aioproducer_core::{FlushPoint, Lane, TopicId};

/// What a flush is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Topic(TopicId),
    /// Records that name the partition, and those of the topic that name none: they may go there.
    Partition(TopicId, i32),
}

/// Records that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    All,
    Topic(TopicId),
    Lane(Lane),
}

impl Scope {
    pub(crate) fn groups(self) -> [Option<Group>; 2] {
        match self {
            Self::All => [Some(Group::All), None],
            Self::Topic(topic) => [Some(Group::Topic(topic)), None],
            Self::Partition(topic, partition) => {
                let lane = |partition| Some(Group::Lane(Lane::new(topic, partition)));
                [lane(Some(partition)), lane(None)]
            }
        }
    }
}

/// A flush that is under way: where it waits.
#[derive(Debug)]
pub(crate) struct Pending {
    id: u64,
    parts: [Option<(Group, FlushPoint)>; 2],
}

#[derive(Default)]
pub(crate) struct Flushes {
    all: Points,
    groups: HashMap<Group, Points>,
    /// Groups whose first point may have nothing left.
    reached: Vec<Group>,
    next: u64,
}

/// The points of one group, in order.
#[derive(Default)]
struct Points {
    list: VecDeque<Point>,
    /// Records that they count together.
    counted: usize,
}

/// Where at least one flush waits.
struct Point {
    at: FlushPoint,
    left: usize,
    wakers: BTreeMap<u64, Option<Waker>>,
}

impl Flushes {
    /// Whether no flush waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.list.is_empty() && self.groups.is_empty()
    }

    /// Begins a flush at `point`, of groups of which `outstanding` records have not ended. `None` if there is nothing to wait
    /// for; `telling` says that the outcomes of records that have ended are not told yet. What is not needed of `wakers`
    /// comes back.
    pub(crate) fn begin(
        &mut self,
        groups: [Option<Group>; 2],
        point: FlushPoint,
        outstanding: impl Fn(Group) -> usize,
        telling: bool,
        wakers: [Waker; 2],
    ) -> (Option<Pending>, [Option<Waker>; 2]) {
        let id = self.next;
        let places = groups.map(|group| {
            let group = group?;
            let at = self.points(group).place(point, outstanding(group), telling)?;
            Some((group, at))
        });
        let mut wakers = wakers.map(Some);
        for (place, waker) in places.iter().zip(&mut wakers) {
            if let Some((group, at)) = place {
                self.points(*group).join(*at, id, waker.take());
                self.reached.push(*group);
            }
        }
        groups.into_iter().flatten().for_each(|group| self.tidy(group));
        self.next += 1;
        let pending = (places != [None, None]).then_some(Pending { id, parts: places });
        (pending, wakers)
    }

    /// A record has ended.
    pub(crate) fn end_record(&mut self, lane: Lane, sequence: u64) {
        if self.all.end_record(sequence) {
            self.reached.push(Group::All);
        }
        if self.groups.is_empty() {
            return;
        }
        for group in [Group::Topic(lane.topic()), Group::Lane(lane)] {
            if self.groups.get_mut(&group).is_some_and(|points| points.end_record(sequence)) {
                self.reached.push(group);
            }
        }
    }

    /// Ends the flushes that wait for nothing any more.
    pub(crate) fn settle(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(group) = self.reached.pop() {
            self.points(group).settle(wakers);
            self.tidy(group);
        }
    }

    /// Whether the flush is over. If not, these wakers are for its parts; what is not needed comes back.
    pub(crate) fn poll(&mut self, flush: &mut Pending, wakers: [Waker; 2]) -> (bool, [Option<Waker>; 2]) {
        let id = flush.id;
        let mut wakers = wakers.map(Some);
        for (part, waker) in flush.parts.iter_mut().zip(&mut wakers) {
            let Some((group, at)) = *part else { continue };
            match self.points(group).find(at) {
                Some(point) => *waker = point.wakers.insert(id, waker.take()).flatten(),
                None => *part = None,
            }
            self.tidy(group);
        }
        (flush.parts == [None, None], wakers)
    }

    /// Records that the flush waits for.
    pub(crate) fn left(&self, flush: &Pending) -> usize {
        let left = |(group, at): (Group, FlushPoint)| {
            let points = if group == Group::All { Some(&self.all) } else { self.groups.get(&group) };
            points
                .map_or(0, |points| points.list.iter().take_while(|point| point.at <= at).map(|point| point.left).sum())
        };
        flush.parts.into_iter().flatten().map(left).sum::<usize>()
    }

    /// The flush is given up, or over.
    pub(crate) fn leave(&mut self, flush: &Pending) -> [Option<Waker>; 2] {
        flush.parts.map(|part| {
            let (group, at) = part?;
            let waker = self.points(group).leave(at, flush.id);
            self.tidy(group);
            waker
        })
    }

    fn points(&mut self, group: Group) -> &mut Points {
        if group == Group::All { &mut self.all } else { self.groups.entry(group).or_default() }
    }

    /// Forgets a group at whose points nobody waits.
    fn tidy(&mut self, group: Group) {
        if group != Group::All && self.points(group).list.is_empty() {
            self.groups.remove(&group);
        }
    }
}

impl Points {
    /// The point at which a flush waits that begins now; `None` if there is nothing to wait for.
    fn place(&mut self, point: FlushPoint, outstanding: usize, telling: bool) -> Option<FlushPoint> {
        let own = outstanding.saturating_sub(self.counted);
        match self.list.back() {
            // Everything that it waits for is counted there.
            Some(last) if own == 0 => return Some(last.at),
            None if own == 0 && !telling => return None,
            _ => {}
        }
        self.list.push_back(Point { at: point, left: own, wakers: BTreeMap::new() });
        self.counted += own;
        Some(point)
    }

    fn join(&mut self, at: FlushPoint, id: u64, waker: Option<Waker>) {
        if let Some(point) = self.find(at) {
            point.wakers.insert(id, waker);
        }
    }

    fn leave(&mut self, at: FlushPoint, id: u64) -> Option<Waker> {
        let found = self.list.binary_search_by_key(&at, |point| point.at).ok()?;
        let point = self.list.get_mut(found)?;
        let waker = point.wakers.remove(&id)?;
        if point.wakers.is_empty() {
            let left = point.left;
            self.list.remove(found);
            // There are no more points than flushes: the next one counts for this one, too.
            match self.list.get_mut(found) {
                Some(next) => next.left += left,
                None => self.counted -= left,
            }
        }
        waker
    }

    /// Counts a record that has ended; whether nothing is left at the first point.
    fn end_record(&mut self, sequence: u64) -> bool {
        let at = self.list.partition_point(|point| !point.at.covers(sequence));
        let Some(point) = self.list.get_mut(at).filter(|point| point.left > 0) else { return false };
        point.left -= 1;
        self.counted -= 1;
        at == 0 && point.left == 0
    }

    fn settle(&mut self, wakers: &mut Vec<Waker>) {
        while self.list.front().is_some_and(|point| point.left == 0)
            && let Some(point) = self.list.pop_front()
        {
            wakers.extend(point.wakers.into_values().flatten());
        }
    }

    fn find(&mut self, at: FlushPoint) -> Option<&mut Point> {
        let found = self.list.binary_search_by_key(&at, |point| point.at).ok()?;
        self.list.get_mut(found)
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Accept(usize),
        End(usize),
        Flush(usize),
        GiveUp(usize),
        /// Outcomes are being told, or have been.
        Tell(bool),
    }

    fn lanes() -> [Lane; 5] {
        let lane = |topic, partition| Lane::new(TopicId(topic), partition);
        [lane(0, None), lane(0, Some(0)), lane(0, Some(1)), lane(1, None), lane(1, Some(0))]
    }

    fn scopes() -> [Scope; 6] {
        let topics = [TopicId(0), TopicId(1)];
        let [first, second] = topics;
        let partition = Scope::Partition;
        [
            Scope::All,
            Scope::Topic(first),
            Scope::Topic(second),
            partition(first, 0),
            partition(first, 1),
            partition(second, 0),
        ]
    }

    fn has(scope: Scope, lane: Lane) -> bool {
        match scope {
            Scope::All => true,
            Scope::Topic(topic) => lane.topic() == topic,
            Scope::Partition(topic, partition) => {
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
            1 => any::<bool>().prop_map(Step::Tell),
        ]
    }

    /// A machine that hands out points, since nothing else can.
    fn machine() -> aioproducer_core::Producer<Item, (), aioproducer_core::Heap> {
        let limits = aioproducer_core::Limits::default();
        aioproducer_core::Producer::new(limits, aioproducer_core::Heap { slots: 2048, lanes: 8 }).expect("limits")
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
        scope: Scope,
        below: u64,
    }

    proptest! {
        #[test]
        fn s23_a_flush_ends_with_the_last_of_its_records(steps in prop::collection::vec(step(), 1..200)) {
            let (mut machine, mut flushes) = (machine(), Flushes::default());
            let mut live: Vec<(u64, Lane)> = Vec::new();
            let mut waiting: Vec<Waiting> = Vec::new();
            let (mut accepted, mut telling) = (0, false);
            for step in steps {
                match step {
                    Step::Accept(lane) => {
                        let lane = lanes()[lane];
                        prop_assert!(machine.produce(aioproducer_core::Instant::ZERO, Item(lane), ()).is_ok());
                        live.push((accepted, lane));
                        accepted += 1;
                    }
                    Step::End(which) if !live.is_empty() => {
                        let (sequence, lane) = live.swap_remove(which % live.len());
                        flushes.end_record(lane, sequence);
                    }
                    Step::Flush(which) => {
                        let scope = scopes()[which];
                        let outstanding = |group| {
                            let counts = |lane: Lane| match group {
                                Group::All => true,
                                Group::Topic(topic) => lane.topic() == topic,
                                Group::Lane(own) => lane == own,
                            };
                            live.iter().filter(|(_, lane)| counts(*lane)).count()
                        };
                        let wakers = [Waker::noop().clone(), Waker::noop().clone()];
                        let (begun, _) = flushes.begin(scope.groups(), machine.flush(), outstanding, telling, wakers);
                        let any = live.iter().any(|(_, lane)| has(scope, *lane));
                        prop_assert_eq!(begun.is_some(), any || telling);
                        waiting.extend(begun.map(|flush| Waiting { flush, scope, below: accepted }));
                    }
                    Step::GiveUp(which) if !waiting.is_empty() => {
                        flushes.leave(&waiting.swap_remove(which % waiting.len()).flush);
                    }
                    Step::Tell(now) => telling = now,
                    Step::End(_) | Step::GiveUp(_) => {}
                }
                if !telling {
                    flushes.settle(&mut Vec::new());
                }
                let mut still = Vec::new();
                for mut one in waiting {
                    let meant = |(sequence, lane): &&(u64, Lane)| *sequence < one.below && has(one.scope, *lane);
                    let left = live.iter().filter(meant).count();
                    prop_assert_eq!(flushes.left(&one.flush), left);
                    let (over, _) = flushes.poll(&mut one.flush, [Waker::noop().clone(), Waker::noop().clone()]);
                    prop_assert!(left > 0 || over || telling, "nothing is left, and it waits");
                    prop_assert!(!over || left == 0, "it ended early");
                    if !over {
                        still.push(one);
                    }
                }
                waiting = still;
                let points = flushes.groups.values().chain([&flushes.all]).map(|points| points.list.len());
                prop_assert!(points.sum::<usize>() <= 2 * waiting.len(), "more points than flushes");
            }
        }
    }
}
