//! The outcomes of `produce_all`: many records, one waker.

use std::iter::Flatten;
use std::task::Waker;
use std::vec;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use super::error::DeliveryError;
use crate::runtime::slab::Slab;

/// The outcome of one record of a `produce_all`.
pub(crate) enum Member {
    Pending,
    Delivered(TopicId, Delivered),
    Failed(DeliveryError),
}

/// Outcomes that lie together. A longer list would be moved when it grows, under the state lock, and freed as a whole, on the
/// runtime's thread.
pub(crate) const PIECE: usize = 256;

/// The outcomes of one `produce_all`, in the order of acceptance.
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
struct Bulk {
    /// As far as outcomes are known.
    members: Members,
    settled: usize,
    /// How many there are, once the last was accepted.
    accepted: Option<usize>,
    waker: Option<Waker>,
    /// The future is gone: no task will read the outcomes.
    abandoned: bool,
}

impl Bulk {
    fn is_complete(&self) -> bool {
        self.accepted == Some(self.settled)
    }
}

/// The outcomes of all calls of `produce_all` under way, by number.
#[derive(Default)]
pub(crate) struct BulkOutcomes(Slab<Bulk>);

impl BulkOutcomes {
    pub(crate) fn open(&mut self) -> u32 {
        self.0.insert(Bulk::default())
    }

    /// Notes a record's outcome. Returns the outcomes of a call that ended and whose future is gone; dropping them may run the
    /// application's code, so that is for when no lock is held.
    pub(crate) fn settle(&mut self, number: u32, index: u32, outcome: Member, wakers: &mut Vec<Waker>) -> Members {
        let Some(bulk) = self.0.get_mut(number) else { return outcome.into() };
        bulk.members.set(index as usize, outcome);
        bulk.settled += 1;
        if !bulk.is_complete() {
            return Members::default();
        }
        wakers.extend(bulk.waker.take());
        if bulk.abandoned { self.close(number) } else { Members::default() }
    }

    /// The outcomes of all `accepted` records, once the last is known; the number is free then. Until then `waker` is kept, and
    /// the one before it comes back in its place.
    pub(crate) fn poll(&mut self, number: u32, accepted: usize, waker: &mut Option<Waker>) -> Option<Members> {
        if let Some(bulk) = self.0.get_mut(number) {
            bulk.accepted = Some(accepted);
            if !bulk.is_complete() {
                std::mem::swap(&mut bulk.waker, waker);
                return None;
            }
        }
        Some(self.close(number))
    }

    /// The future was dropped; its `accepted` records go their way. Returns what it would have read.
    pub(crate) fn abandon(&mut self, number: u32, accepted: usize) -> (Members, Option<Waker>) {
        let Some(bulk) = self.0.get_mut(number) else { return (Members::default(), None) };
        (bulk.abandoned, bulk.accepted) = (true, Some(accepted));
        let waker = bulk.waker.take();
        let members = if bulk.is_complete() { self.close(number) } else { Members::default() };
        (members, waker)
    }

    /// It has no waker by now: whatever completes a call takes it.
    fn close(&mut self, number: u32) -> Members {
        self.0.remove(number).map_or_else(Members::default, |bulk| bulk.members)
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn outcomes_that_come_in_any_order_are_read_in_the_records_order() {
        let count = 3 * PIECE + 7;
        for step in [1, 7, count - 1] {
            let (mut bulk, mut wakers) = (BulkOutcomes::default(), Vec::new());
            let number = bulk.open();
            for at in (0..count).map(|at| at * step % count) {
                assert!(bulk.poll(number, count, &mut Some(Waker::noop().clone())).is_none(), "not all are known");
                let at = Delivered::new(0, Some(at as i64), Some(0));
                let unwanted = bulk.settle(
                    number,
                    at.offset().unwrap_or(0) as u32,
                    Member::Delivered(TopicId(0), at),
                    &mut wakers,
                );
                assert!(unwanted.is_empty());
            }
            assert_eq!(wakers.len(), 1);
            let Some(members) = bulk.poll(number, count, &mut None) else { panic!("all are known") };
            let offsets = members.into_iter().map(|member| match member {
                Member::Delivered(_, at) => at.offset().unwrap_or(-1),
                Member::Pending | Member::Failed(_) => panic!("delivered"),
            });
            assert!(offsets.eq(0..count as i64), "step {step}");
        }
    }
}
