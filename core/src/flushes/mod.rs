//! Which records flushes wait for, and how many of them are left.

mod points;

pub(crate) use self::points::Point;
use self::points::{Counted, Points};
use crate::lanes::LaneRow;
use crate::slot::NIL;
use crate::storage::Table;
use crate::{Lane, TopicId};

/// What a flush is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushScope {
    /// Every record.
    All,
    /// The records of a topic.
    Topic(TopicId),
    /// The records that name this partition of the topic, and those of the topic that name none: they may go there.
    Partition(TopicId, i32),
}

/// Records that flushes count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlushGroup {
    /// Every record.
    All,
    /// The records of a topic.
    Topic(TopicId),
    /// The records of a lane.
    Lane(Lane),
}

impl FlushScope {
    /// The groups whose records a flush of this scope waits for.
    #[must_use]
    pub fn groups(self) -> [Option<FlushGroup>; 3] {
        match self {
            Self::All => [Some(FlushGroup::All), None, None],
            Self::Topic(topic) => [Some(FlushGroup::Topic(topic)), None, None],
            Self::Partition(topic, partition) => {
                let (named, unnamed) = (Lane::new(topic, Some(partition)), Lane::new(topic, None));
                let unplaced = FlushGroup::Lane(Lane::unplaced(topic));
                let named = (named != unnamed).then_some(FlushGroup::Lane(named));
                [Some(FlushGroup::Lane(unnamed)), Some(unplaced), named]
            }
        }
    }
}

/// A flush: a moment between two acceptances, and the records before it that it waits for.
///
/// It is only a question, to be asked as often as one likes with [`Producer::is_flushed`](crate::Producer::is_flushed)
/// and [`Producer::left_of`](crate::Producer::left_of), or never: the machine keeps nothing for it. It cannot become
/// another flush's, as no position is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushPoint {
    position: u64,
    scope: FlushScope,
    /// Where the points of the scope's topic are.
    cell: u32,
}

impl FlushPoint {
    pub(crate) const fn new(position: u64, scope: FlushScope, cell: u32) -> Self {
        Self { position, scope, cell }
    }

    /// How many records the producer had accepted before.
    #[must_use]
    pub const fn position(self) -> u64 {
        self.position
    }

    /// What it is about.
    #[must_use]
    pub const fn scope(self) -> FlushScope {
        self.scope
    }
}

/// Flushes of a group are over: those whose [position](FlushPoint::position) is below the one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The group. A flush with several groups is over when it is over in all.
    pub group: FlushGroup,
    /// The position of the first flush that is not over.
    pub below: u64,
}

/// The points of a topic.
#[derive(Debug)]
pub(crate) struct TopicPoints {
    topic: TopicId,
    root: u32,
    /// The next cell that no topic uses.
    vacant: u32,
}

/// All flush points: of everything, of topics, and of lanes. Each lane's row has the root of its own, and knows the cell
/// of its topic.
pub(crate) struct Flushes<P, C> {
    all: Points<P>,
    all_root: u32,
    of_topics: Points<P>,
    topics: C,
    vacant_topic: u32,
    of_lanes: Points<P>,
}

impl<P: Table<Point>, C: Table<TopicPoints>> Flushes<P, C> {
    pub(crate) fn new([all, of_topics, of_lanes]: [P; 3], topics: C) -> Self {
        Self {
            all: Points::new(all),
            all_root: NIL,
            of_topics: Points::new(of_topics),
            topics,
            vacant_topic: NIL,
            of_lanes: Points::new(of_lanes),
        }
    }

    pub(crate) fn has_memory(&self) -> bool {
        [&self.all, &self.of_topics, &self.of_lanes].iter().all(|points| points.has_memory())
            && self.topics.has_memory()
    }

    /// Points that count records.
    pub(crate) const fn len(&self) -> u32 {
        // Three times as many as there are slots: more than a number has room for, in theory.
        self.all.len().saturating_add(self.of_topics.len()).saturating_add(self.of_lanes.len())
    }

    /// Begins a flush of everything, of which `outstanding` records have not ended.
    pub(crate) fn begin_all(&mut self, position: u64, outstanding: u32) {
        begin(&mut self.all, &mut self.all_root, FlushGroup::All, position, outstanding);
    }

    /// Begins a flush of a lane.
    pub(crate) fn begin_lane(&mut self, row: &mut LaneRow, position: u64) {
        let outstanding = row.len() as u32;
        begin(&mut self.of_lanes, &mut row.points, FlushGroup::Lane(row.lane), position, outstanding);
    }

    /// Begins a flush of a topic, whose points are in `cell`.
    pub(crate) fn begin_topic(&mut self, cell: u32, position: u64, outstanding: u32) {
        if let Some(TopicPoints { topic, root, .. }) = self.topics.values_mut().get_mut(cell as usize) {
            begin(&mut self.of_topics, root, FlushGroup::Topic(*topic), position, outstanding);
        }
    }

    /// The cell with the points of the topic, if that is the one.
    pub(crate) fn topic_in(&self, cell: u32, topic: TopicId) -> Option<u32> {
        self.topics.values().get(cell as usize).filter(|points| points.root != NIL && points.topic == topic)?;
        Some(cell)
    }

    /// A cell for the points of a topic that has none. One of its lanes has a record for it, so there are enough.
    pub(crate) fn add_topic(&mut self, topic: TopicId) -> u32 {
        let points = TopicPoints { topic, root: NIL, vacant: NIL };
        let at = self.vacant_topic;
        if let Some(cell) = self.topics.values_mut().get_mut(at as usize) {
            self.vacant_topic = core::mem::replace(cell, points).vacant;
            return at;
        }
        let at = self.topics.values().len() as u32;
        self.topics.push(points).map_or(NIL, |()| at)
    }

    /// A record of the lane has ended that is number `sequence` of the producer.
    pub(crate) fn end_record(&mut self, row: &mut LaneRow, sequence: u64) {
        self.all.end_record(&mut self.all_root, sequence, NIL);
        self.of_lanes.end_record(&mut row.points, sequence, NIL);
        if row.topic == NIL {
            return;
        }
        let cell = row.topic;
        let Some(points) =
            self.topics.values_mut().get_mut(cell as usize).filter(|points| points.topic == row.lane.topic())
        else {
            row.topic = NIL;
            return;
        };
        if self.of_topics.end_record(&mut points.root, sequence, cell) == Counted::Reached && points.root == NIL {
            points.vacant = core::mem::replace(&mut self.vacant_topic, cell);
        }
    }

    /// Flushes that are over: their group, and the position of the first of the group that is not, if the points that
    /// `lane` finds are its lane's.
    pub(crate) fn pop_reached(&mut self, lane: impl FnOnce(Lane) -> u32) -> Option<(FlushGroup, Option<u64>)> {
        if let Some((group, _)) = self.all.pop_reached() {
            return Some((group, self.all.first(self.all_root)));
        }
        if let Some((group, cell)) = self.of_topics.pop_reached() {
            let FlushGroup::Topic(topic) = group else { return None };
            // Its cell may be another's by now, and its points in another cell.
            let points = self.topics.values();
            let is_its = |points: &&TopicPoints| points.root != NIL && points.topic == topic;
            let found = points.get(cell as usize).filter(is_its).or_else(|| points.iter().find(is_its));
            return Some((group, found.and_then(|points| self.of_topics.first(points.root))));
        }
        let (group, _) = self.of_lanes.pop_reached()?;
        let FlushGroup::Lane(of) = group else { return None };
        Some((group, self.of_lanes.first(lane(of))))
    }

    /// Whether [`Flushes::pop_reached`] has something to give.
    pub(crate) const fn has_reached(&self) -> bool {
        self.all.has_reached() || self.of_topics.has_reached() || self.of_lanes.has_reached()
    }

    /// Whether no point up to `position` counts a record, and how many they count; `lane` is the root of a lane's points.
    pub(crate) fn left(&self, point: FlushPoint, lane: impl Fn(Lane) -> u32) -> u32 {
        let left = |group| match group {
            FlushGroup::All => self.all.total_until(self.all_root, point.position),
            FlushGroup::Lane(of) => self.of_lanes.total_until(lane(of), point.position),
            FlushGroup::Topic(topic) => {
                let cell = self.topic_in(point.cell, topic);
                let points = cell.and_then(|cell| self.topics.values().get(cell as usize));
                points.map_or(0, |points| self.of_topics.total_until(points.root, point.position))
            }
        };
        point.scope.groups().into_iter().flatten().map(left).sum()
    }
}

/// Adds a point for the records that no other point of the group counts, if there are any.
fn begin<P: Table<Point>>(points: &mut Points<P>, root: &mut u32, group: FlushGroup, position: u64, outstanding: u32) {
    let own = outstanding.saturating_sub(points.total(*root));
    if own > 0 {
        points.append(root, group, position, own);
    }
}
