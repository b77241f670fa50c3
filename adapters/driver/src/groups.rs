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
    /// By the order of acceptance, as far as outcomes are known.
    members: Vec<Member>,
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
    pub(crate) fn settle(&mut self, number: u32, index: u32, outcome: Member, wakers: &mut Vec<Waker>) -> Vec<Member> {
        let Some(group) = &mut self.groups[number as usize] else { return vec![outcome] };
        let index = index as usize;
        if group.members.len() <= index {
            group.members.resize_with(index + 1, || Member::Pending);
        }
        group.members[index] = outcome;
        group.settled += 1;
        if !group.is_complete() {
            return Vec::new();
        }
        wakers.extend(group.waker.take());
        if group.abandoned { self.forget(number) } else { Vec::new() }
    }

    /// The outcomes of all `accepted` records, once the last is known; the group is gone then. Until then `waker` is
    /// kept, and the one before it comes back.
    pub(crate) fn poll(&mut self, number: u32, accepted: usize, waker: &Waker) -> Result<Vec<Member>, Option<Waker>> {
        if let Some(group) = &mut self.groups[number as usize] {
            group.accepted = Some(accepted);
            if !group.is_complete() {
                return Err(group.waker.replace(waker.clone()));
            }
        }
        Ok(self.forget(number))
    }

    /// The future was dropped; its `accepted` records go their way. What it would have read comes back.
    pub(crate) fn abandon(&mut self, number: u32, accepted: usize) -> (Vec<Member>, Option<Waker>) {
        let Some(group) = &mut self.groups[number as usize] else { return (Vec::new(), None) };
        (group.abandoned, group.accepted) = (true, Some(accepted));
        let waker = group.waker.take();
        let members = if group.is_complete() { self.forget(number) } else { Vec::new() };
        (members, waker)
    }

    fn forget(&mut self, number: u32) -> Vec<Member> {
        let group = self.groups[number as usize].take();
        if group.is_some() {
            self.free.push(number);
        }
        group.map_or_else(Vec::new, |group| group.members)
    }
}
