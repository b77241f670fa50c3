//! `produce_all`'s side of completion: many records, one waker.

use std::iter::Flatten;
use std::task::Waker;
use std::vec;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use crate::outcome::error::DeliveryError;

/// A record's outcome in its group.
pub(crate) enum Member {
    Pending,
    Delivered(TopicId, Delivered),
    Failed(DeliveryError),
}

/// Outcomes of a group that lie together. A longer list would be moved when it grows, under the producer's lock, and freed
/// as a whole, on the runtime's thread.
pub(crate) const PIECE: usize = 256;

/// The outcomes of a group, by the order of acceptance.
#[derive(Default)]
pub(crate) struct Members(Vec<Vec<Member>>);

impl Members {
    fn set(&mut self, index: usize, outcome: Member) {
        let piece = index / PIECE;
        if self.0.len() <= piece {
            self.0.resize_with(piece + 1, Vec::new);
        }
        let (piece, at) = (&mut self.0[piece], index % PIECE);
        if piece.capacity() == 0 {
            piece.reserve_exact(PIECE);
        }
        match piece.get_mut(at) {
            Some(pending) => *pending = outcome,
            None => {
                piece.resize_with(at, || Member::Pending);
                piece.push(outcome);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Member> for Members {
    fn from(outcome: Member) -> Self {
        Self(vec![vec![outcome]])
    }
}

impl IntoIterator for Members {
    type Item = Member;
    type IntoIter = Flatten<vec::IntoIter<Vec<Member>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// The records of one `produce_all`.
#[derive(Default)]
struct Group {
    /// As far as outcomes are known.
    members: Members,
    settled: usize,
    /// How many there are, once the last was accepted.
    accepted: Option<usize>,
    waker: Option<Waker>,
    /// The future is gone: nobody will ask for the outcomes.
    abandoned: bool,
}

impl Group {
    fn is_complete(&self) -> bool {
        self.accepted == Some(self.settled)
    }
}

/// All groups under way, by number.
#[derive(Default)]
pub(crate) struct Groups {
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
}

impl Groups {
    pub(crate) fn open(&mut self) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() as u32 - 1
        });
        self.groups[number as usize] = Some(Group::default());
        number
    }

    /// Notes a record's outcome. Returns the outcomes of a group that ended and that nobody will ask for; dropping them
    /// may run anybody's code, so that is for when no lock is held.
    pub(crate) fn settle(&mut self, number: u32, index: u32, outcome: Member, wakers: &mut Vec<Waker>) -> Members {
        let Some(group) = &mut self.groups[number as usize] else { return outcome.into() };
        group.members.set(index as usize, outcome);
        group.settled += 1;
        if !group.is_complete() {
            return Members::default();
        }
        wakers.extend(group.waker.take());
        if group.abandoned { self.forget(number) } else { Members::default() }
    }

    /// The outcomes of all `accepted` records, once the last is known; the group is gone then. Until then `waker` is
    /// kept, and the one before it comes back in its place.
    pub(crate) fn poll(&mut self, number: u32, accepted: usize, waker: &mut Option<Waker>) -> Option<Members> {
        if let Some(group) = &mut self.groups[number as usize] {
            group.accepted = Some(accepted);
            if !group.is_complete() {
                std::mem::swap(&mut group.waker, waker);
                return None;
            }
        }
        Some(self.forget(number))
    }

    /// The future was dropped; its `accepted` records go their way. What it would have read comes back.
    pub(crate) fn abandon(&mut self, number: u32, accepted: usize) -> (Members, Option<Waker>) {
        let Some(group) = &mut self.groups[number as usize] else { return (Members::default(), None) };
        (group.abandoned, group.accepted) = (true, Some(accepted));
        let waker = group.waker.take();
        let members = if group.is_complete() { self.forget(number) } else { Members::default() };
        (members, waker)
    }

    fn forget(&mut self, number: u32) -> Members {
        let group = self.groups[number as usize].take();
        if group.is_some() {
            self.free.push(number);
        }
        group.map_or_else(Members::default, |group| group.members)
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn outcomes_that_come_in_any_order_are_read_in_the_records_order() {
        let count = 3 * PIECE + 7;
        for step in [1, 7, count - 1] {
            let (mut groups, mut wakers) = (Groups::default(), Vec::new());
            let number = groups.open();
            for at in (0..count).map(|at| at * step % count) {
                assert!(groups.poll(number, count, &mut Some(Waker::noop().clone())).is_none(), "not all are known");
                let at = Delivered::new(0, Some(at as i64), Some(0));
                let unwanted = groups.settle(
                    number,
                    at.offset().unwrap_or(0) as u32,
                    Member::Delivered(TopicId(0), at),
                    &mut wakers,
                );
                assert!(unwanted.is_empty());
            }
            assert_eq!(wakers.len(), 1);
            let Some(members) = groups.poll(number, count, &mut None) else { panic!("all are known") };
            let offsets = members.into_iter().map(|member| match member {
                Member::Delivered(_, at) => at.offset().unwrap_or(-1),
                Member::Pending | Member::Failed(_) => panic!("delivered"),
            });
            assert!(offsets.eq(0..count as i64), "step {step}");
        }
    }
}
