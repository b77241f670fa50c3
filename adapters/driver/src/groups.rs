//! `produce_all`'s side of completion: many records, one waker.

use std::task::{Context, Poll, Waker};

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

    pub(crate) fn deliver(
        &mut self,
        group: usize,
        index: usize,
        topic: TopicId,
        delivered: Delivered,
        wakers: &mut Vec<Waker>,
    ) {
        self.settle(group, index, Member::Delivered(topic, delivered), wakers);
    }

    pub(crate) fn fail(&mut self, group: usize, index: usize, error: DeliveryError, wakers: &mut Vec<Waker>) {
        self.settle(group, index, Member::Failed(error), wakers);
    }

    fn settle(&mut self, number: usize, index: usize, outcome: Member, wakers: &mut Vec<Waker>) {
        let Some(group) = &mut self.groups[number] else { return };
        group.members[index] = outcome;
        group.pending -= 1;
        if group.pending == 0 {
            wakers.extend(group.waker.take());
            if group.abandoned {
                self.forget(number);
            }
        }
    }

    /// The outcomes of all records, once the last is known; the group is gone then.
    pub(crate) fn poll(&mut self, number: usize, cx: &Context<'_>) -> Poll<Vec<Member>> {
        let Some(group) = &mut self.groups[number] else { return Poll::Ready(Vec::new()) };
        if group.pending > 0 {
            group.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let members = std::mem::take(&mut group.members);
        self.forget(number);
        Poll::Ready(members)
    }

    /// The future was dropped; the records go their way.
    pub(crate) fn abandon(&mut self, number: usize) {
        let Some(group) = &mut self.groups[number] else { return };
        group.abandoned = true;
        group.waker = None;
        if group.pending == 0 {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: usize) {
        self.groups[number] = None;
        self.free.push(number);
    }
}
