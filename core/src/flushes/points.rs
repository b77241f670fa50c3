//! The flush points of one kind of group: a search tree for each group, all in one table.
//!
//! A point counts the records that were accepted between the point before it and itself and that have not ended. A point
//! whose last record ends is removed: if others come before it, its flushes wait for those and no more. So each point
//! counts at least one record that no other counts, and a place for each slot is always enough.
//!
//! Each group's points form a treap: a binary search tree by position that is a heap by a hash of the position. Nothing
//! is drawn at random, and no order of flushes that records can bring about makes it deep. With it, the end of a record
//! costs a search that is logarithmic in the points of its group, however many flushes there are.

use super::FlushGroup;
use crate::slot::NIL;
use crate::storage::Table;

#[derive(Debug)]
pub(crate) struct Point {
    /// It comes after that many records of the producer.
    position: u64,
    group: FlushGroup,
    records: u32,
    /// The records of its subtree.
    total: u32,
    /// `NIL` for the root. In a list: the cell of the topic.
    parent: u32,
    left: u32,
    /// In a list: the point behind.
    right: u32,
}

/// What the end of a record means for the flushes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// None of them is over by that.
    Goes,
    /// Those at the group's first point are over.
    Reached,
}

pub(crate) struct Points<P> {
    points: P,
    /// Vacant places.
    vacant: u32,
    /// Points that were reached and not yet asked for, oldest first.
    reached: (u32, u32),
    /// Points that count records.
    len: u32,
}

/// Spreads positions over all numbers (SplitMix64).
const fn priority(position: u64) -> u64 {
    let mut word = position.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

impl<P: Table<Point>> Points<P> {
    pub(super) const fn new(points: P) -> Self {
        Self { points, vacant: NIL, reached: (NIL, NIL), len: 0 }
    }

    pub(super) fn has_memory(&self) -> bool {
        self.points.has_memory()
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    fn get(&self, at: u32) -> Option<&Point> {
        self.points.values().get(at as usize)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Point> {
        self.points.values_mut().get_mut(at as usize)
    }

    /// The records that the points under `root` count together.
    pub(super) fn total(&self, root: u32) -> u32 {
        self.get(root).map_or(0, |point| point.total)
    }

    fn priority_of(&self, at: u32) -> u64 {
        self.get(at).map_or(0, |point| priority(point.position))
    }

    /// The position of a group's first point.
    pub(super) fn first(&self, root: u32) -> Option<u64> {
        let mut point = self.get(root)?;
        while let Some(left) = self.get(point.left) {
            point = left;
        }
        Some(point.position)
    }

    /// The records that the points up to `position` count.
    pub(super) fn total_until(&self, root: u32, position: u64) -> u32 {
        let (mut walk, mut sum) = (root, 0);
        while let Some(point) = self.get(walk) {
            walk = if point.position <= position {
                sum += point.records + self.total(point.left);
                point.right
            } else {
                point.left
            };
        }
        sum
    }

    /// Adds a point behind all others of its group, which counts `records`.
    pub(super) fn append(&mut self, root: &mut u32, group: FlushGroup, position: u64, records: u32) {
        let mut last = NIL;
        let mut walk = *root;
        while let Some(point) = self.get_mut(walk) {
            point.total += records;
            last = core::mem::replace(&mut walk, point.right);
        }
        if let Some(point) = self.get_mut(last).filter(|point| point.position == position) {
            point.records += records;
            return;
        }
        let point = Point { position, group, records, total: records, parent: last, left: NIL, right: NIL };
        let Some(at) = self.place(point) else { return };
        match self.get_mut(last) {
            Some(last) => last.right = at,
            None => *root = at,
        }
        self.len += 1;
        while let Some(parent) = self.get(at).map(|point| point.parent).filter(|parent| *parent != NIL)
            && self.priority_of(parent) < self.priority_of(at)
        {
            self.rotate_up(root, at);
        }
    }

    fn place(&mut self, point: Point) -> Option<u32> {
        if self.vacant == NIL && self.points.values().len() == self.points.capacity() {
            // Only a caller that does not ask what was reached gets here: it misses the oldest answer.
            self.pop_reached();
        }
        let at = self.vacant;
        if let Some(place) = self.get_mut(at) {
            let vacant = core::mem::replace(place, point).right;
            self.vacant = vacant;
            return Some(at);
        }
        let at = self.points.values().len() as u32;
        self.points.push(point).ok()?;
        Some(at)
    }

    /// A record has ended that is number `sequence` of the producer. `cell` is kept with a point that is reached.
    pub(super) fn end_record(&mut self, root: &mut u32, sequence: u64, cell: u32) -> Counted {
        let (mut walk, mut found) = (*root, NIL);
        while let Some(point) = self.get(walk) {
            walk = if point.position > sequence {
                found = walk;
                point.left
            } else {
                point.right
            };
        }
        let Some(point) = self.get_mut(found) else { return Counted::Goes };
        point.records = point.records.saturating_sub(1);
        let is_empty = point.records == 0;
        let mut walk = found;
        while let Some(point) = self.get_mut(walk) {
            point.total = point.total.saturating_sub(1);
            walk = point.parent;
        }
        if !is_empty {
            return Counted::Goes;
        }
        let first = self.first(*root);
        let is_first = self.get(found).is_some_and(|point| Some(point.position) == first);
        self.remove(root, found);
        self.len -= 1;
        if !is_first {
            self.vacate(found);
            return Counted::Goes;
        }
        if let Some(point) = self.get_mut(found) {
            (point.parent, point.right) = (cell, NIL);
        }
        let last = core::mem::replace(&mut self.reached.1, found);
        match self.get_mut(last) {
            Some(last) => last.right = found,
            None => self.reached.0 = found,
        }
        Counted::Reached
    }

    /// A group whose first point was reached, and the cell that was kept with it.
    pub(super) fn pop_reached(&mut self) -> Option<(FlushGroup, u32)> {
        let at = self.reached.0;
        let &Point { group, parent: cell, right: behind, .. } = self.get(at)?;
        self.reached.0 = behind;
        if behind == NIL {
            self.reached.1 = NIL;
        }
        self.vacate(at);
        Some((group, cell))
    }

    pub(super) const fn has_reached(&self) -> bool {
        self.reached.0 != NIL
    }

    fn vacate(&mut self, at: u32) {
        let vacant = self.vacant;
        if let Some(point) = self.get_mut(at) {
            point.right = vacant;
            self.vacant = at;
        }
    }

    /// Takes a point that counts nothing out of its tree.
    fn remove(&mut self, root: &mut u32, at: u32) {
        while let Some(&Point { left, right, .. }) = self.get(at)
            && (left != NIL || right != NIL)
        {
            let goes_left = right == NIL || left != NIL && self.priority_of(left) > self.priority_of(right);
            self.rotate_up(root, if goes_left { left } else { right });
        }
        let Some(parent) = self.get(at).map(|point| point.parent) else { return };
        match self.get_mut(parent) {
            Some(parent) if parent.left == at => parent.left = NIL,
            Some(parent) => parent.right = NIL,
            None => *root = NIL,
        }
    }

    /// Puts a point above its parent. The order by position stays.
    fn rotate_up(&mut self, root: &mut u32, at: u32) {
        let Some(&Point { parent, left, right, total: own, .. }) = self.get(at) else { return };
        let Some(below) = self.get_mut(parent) else { return };
        let (above, total, was_left) = (below.parent, below.total, below.left == at);
        let moved = if was_left { right } else { left };
        *(if was_left { &mut below.left } else { &mut below.right }) = moved;
        below.parent = at;
        below.total = total.saturating_sub(own);
        if let Some(moved) = self.get_mut(moved) {
            moved.parent = parent;
            let total = moved.total;
            self.get_mut(parent).into_iter().for_each(|below| below.total += total);
        }
        if let Some(point) = self.get_mut(at) {
            *(if was_left { &mut point.right } else { &mut point.left }) = parent;
            point.parent = above;
            point.total = total;
        }
        match self.get_mut(above) {
            Some(above) if above.left == parent => above.left = at,
            Some(above) => above.right = at,
            None => *root = at,
        }
    }
}
