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
    /// Flushes that wait at them.
    waiting: usize,
}

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
        if self.points(group).waiting > 0 {
            return;
        }
        match group {
            Group::All => self.all = Points::default(),
            Group::Topic(_) | Group::Lane(_) => drop(self.groups.remove(&group)),
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
            self.waiting += 1;
        }
    }

    fn leave(&mut self, at: FlushPoint, id: u64) -> Option<Waker> {
        let waker = self.find(at)?.wakers.remove(&id)?;
        self.waiting -= 1;
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
            self.waiting -= point.wakers.len();
            wakers.extend(point.wakers.into_values().flatten());
        }
    }

    fn find(&mut self, at: FlushPoint) -> Option<&mut Point> {
        let found = self.list.binary_search_by_key(&at, |point| point.at).ok()?;
        self.list.get_mut(found)
    }
}
