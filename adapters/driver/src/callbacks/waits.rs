//! Tasks that wait for callbacks: each for those that had not ended when its wait began.
//!
//! Callbacks of a line run one after the other, so the first that end after that are those that it waits for.

use std::collections::HashMap;
use std::task::Waker;

use crate::record::topics::TopicPartition;

/// Names a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitId(u64);

/// The waits that are not over, as many as there are futures.
#[derive(Default)]
pub(super) struct Waits {
    list: Vec<(WaitId, Wait)>,
    next: u64,
}

struct Wait {
    /// Callbacks that have not ended, by line; no entry is zero.
    left: HashMap<TopicPartition, usize>,
    waker: Option<Waker>,
}

impl Waits {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Begins a wait for `left` callbacks of each line; gives the waker back if there are none.
    pub(super) fn begin(
        &mut self,
        left: impl Iterator<Item = (TopicPartition, usize)>,
        waker: Waker,
    ) -> Result<WaitId, Waker> {
        let left: HashMap<_, _> = left.filter(|(_, count)| *count > 0).collect();
        if left.is_empty() {
            return Err(waker);
        }
        let id = WaitId(self.next);
        self.next += 1;
        self.list.push((id, Wait { left, waker: Some(waker) }));
        Ok(id)
    }

    /// `count` callbacks of a line have ended.
    pub(super) fn ran(&mut self, line: TopicPartition, count: usize, wakers: &mut Vec<Waker>) {
        self.list.retain_mut(|(_, wait)| {
            if let Some(left) = wait.left.get_mut(&line) {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    wait.left.remove(&line);
                }
            }
            let goes_on = !wait.left.is_empty();
            if !goes_on {
                wakers.extend(wait.waker.take());
            }
            goes_on
        });
    }

    /// Callbacks that are left, `None` if the wait is over. The waker is for then; the one before comes back.
    pub(super) fn poll(&mut self, id: WaitId, waker: Waker) -> (Option<usize>, Option<Waker>) {
        match self.list.iter_mut().find(|(other, _)| *other == id) {
            Some((_, wait)) => (Some(wait.left.values().sum()), wait.waker.replace(waker)),
            None => (None, Some(waker)),
        }
    }

    /// The wait is given up.
    pub(super) fn leave(&mut self, id: WaitId) -> Option<Waker> {
        let at = self.list.iter().position(|(other, _)| *other == id)?;
        self.list.swap_remove(at).1.waker
    }

    /// No callback will run any more.
    pub(super) fn end(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.list.drain(..).filter_map(|(_, wait)| wait.waker));
    }
}
