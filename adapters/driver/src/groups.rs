//! `produce_all`'s side of completion: many records, one waker.

use std::task::Waker;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use crate::delivery::DeliveryError;

/// A record's outcome in its group.
pub(crate) enum Member {
    Pending,
    Delivered(TopicId, Delivered),
    Failed(DeliveryError),
}

/// The records of one `produce_all`.
#[derive(Default)]
struct Group {
    members: Vec<Member>,
    pending: usize,
    waker: Option<Waker>,
    /// The future is gone: nobody will ask for the outcomes.
    abandoned: bool,
}

/// All groups under way, by number.
#[derive(Default)]
pub(crate) struct Groups {
    groups: Vec<Option<Group>>,
    free: Vec<usize>,
}

impl Groups {
    pub(crate) fn open(&mut self) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.groups[number] = Some(Group::default());
        number
    }

    /// The place of the group's next record, which was accepted.
    pub(crate) fn join(&mut self, group: usize) -> usize {
        let Some(group) = &mut self.groups[group] else { return 0 };
        group.members.push(Member::Pending);
        group.pending += 1;
        group.members.len() - 1
    }

    /// Notes a record's outcome. Returns the outcomes of a group that ended and that nobody will ask for; dropping them
    /// may run anybody's code, so that is for when no lock is held.
    pub(crate) fn settle(
        &mut self,
        number: usize,
        index: usize,
        outcome: Member,
        wakers: &mut Vec<Waker>,
    ) -> Vec<Member> {
        let Some(group) = &mut self.groups[number] else { return vec![outcome] };
        group.members[index] = outcome;
        group.pending -= 1;
        if group.pending > 0 {
            return Vec::new();
        }
        wakers.extend(group.waker.take());
        if group.abandoned { self.forget(number) } else { Vec::new() }
    }

    /// The outcomes of all records, once the last is known; the group is gone then. Until then `waker` is kept, and the
    /// one before it comes back.
    pub(crate) fn poll(&mut self, number: usize, waker: &Waker) -> Result<Vec<Member>, Option<Waker>> {
        match &mut self.groups[number] {
            Some(group) if group.pending > 0 => Err(group.waker.replace(waker.clone())),
            _ => Ok(self.forget(number)),
        }
    }

    /// The future was dropped; the records go their way. What it would have read comes back.
    pub(crate) fn abandon(&mut self, number: usize) -> (Vec<Member>, Option<Waker>) {
        let Some(group) = &mut self.groups[number] else { return (Vec::new(), None) };
        group.abandoned = true;
        let waker = group.waker.take();
        let members = if group.pending == 0 { self.forget(number) } else { Vec::new() };
        (members, waker)
    }

    fn forget(&mut self, number: usize) -> Vec<Member> {
        let group = self.groups[number].take();
        if group.is_some() {
            self.free.push(number);
        }
        group.map_or_else(Vec::new, |group| group.members)
    }
}
