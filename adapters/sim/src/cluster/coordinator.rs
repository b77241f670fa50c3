//! The coordinator of transactions: which producer a transactional id has, and what its open transaction is about. And the offsets of
//! groups, which transactions commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::{ErrorCode, GroupOffset};

use crate::sync::Arc;

/// The producer of a transactional id, as its coordinator numbers it. A later producer of the id has a higher epoch, and so has each
/// transaction (KIP-890): what is late is of an earlier one, and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer: u64,
    pub(crate) epoch: u32,
}

/// A partition of a topic.
type Place = (Arc<str>, i32);

/// A transaction that ends: its partitions get a marker.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: Arc<str>,
    pub(crate) partitions: BTreeSet<Place>,
    /// The producer's next one.
    pub(crate) identity: Identity,
    pub(crate) what: &'static str,
    pub(crate) is_commit: bool,
}

#[derive(Debug)]
struct Registration {
    identity: Identity,
    timeout: Duration,
    open: Option<OpenTransaction>,
    /// The epoch that the last call ended, and whether it was a commit: the same call again has the same answer.
    ended: Option<(u32, bool)>,
}

/// An open transaction. It begins with its first batch or its first offset.
#[derive(Debug)]
struct OpenTransaction {
    deadline: Instant,
    partitions: BTreeSet<Place>,
    offsets: BTreeMap<(Arc<str>, Place), i64>,
}

#[derive(Default)]
pub(crate) struct Coordinator {
    ids: BTreeMap<Arc<str>, Registration>,
    groups: BTreeMap<(Arc<str>, Place), i64>,
}

impl Coordinator {
    /// A producer takes over a transactional id. `number` is for an id that is new. An open transaction is aborted.
    pub(crate) fn init(&mut self, id: &Arc<str>, number: u64, timeout: Duration) -> (Identity, Option<Ended>) {
        let new = Registration { identity: Identity { producer: number, epoch: 0 }, timeout, open: None, ended: None };
        let is_new = !self.ids.contains_key(id);
        let entry = self.ids.entry(Arc::clone(id)).or_insert(new);
        if is_new {
            return (entry.identity, None);
        }
        let ended = entry.finish(id, false, "is aborted: another producer has its id");
        if ended.is_none() {
            entry.identity.epoch += 1;
        }
        (entry.ended, entry.timeout) = (None, timeout);
        (entry.identity, ended)
    }

    /// A partition becomes part of the producer's transaction, with its first batch.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        id: &Arc<str>,
        identity: Identity,
        place: Place,
    ) -> Result<(), ErrorCode> {
        let entry = registered(&mut self.ids, id, identity).map_err(|code| match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            code => code,
        })?;
        entry.open(now).partitions.insert(place);
        Ok(())
    }

    /// Offsets become part of the producer's transaction.
    pub(crate) fn add_offsets(
        &mut self,
        now: Instant,
        id: &Arc<str>,
        identity: Identity,
        group: &Arc<str>,
        offsets: &[GroupOffset],
    ) -> Result<(), ErrorCode> {
        let open = registered(&mut self.ids, id, identity)?.open(now);
        for GroupOffset { topic, partition, offset, .. } in offsets {
            open.offsets.insert((Arc::clone(group), (Arc::from(&**topic), *partition)), *offset);
        }
        Ok(())
    }

    /// The producer ends its transaction. Returns its next identity, and what ends; nothing does if it is the same call again.
    pub(crate) fn end(
        &mut self,
        id: &Arc<str>,
        identity: Identity,
        is_commit: bool,
    ) -> Result<(Identity, Option<Ended>), ErrorCode> {
        if let Some(entry) = self.ids.get(id)
            && entry.identity.producer == identity.producer
            && entry.ended == Some((identity.epoch, is_commit))
        {
            return Ok((entry.identity, None));
        }
        let entry = registered(&mut self.ids, id, identity)?;
        if entry.open.is_none() {
            // Nothing of it has arrived.
            if is_commit {
                return Err(ErrorCode::InvalidTxnState);
            }
            entry.identity.epoch += 1;
        }
        if is_commit && let Some(open) = &mut entry.open {
            self.groups.append(&mut open.offsets);
        }
        let ended = entry.finish(id, is_commit, if is_commit { "is committed" } else { "is aborted" });
        entry.ended = Some((identity.epoch, is_commit));
        Ok((entry.identity, ended))
    }

    /// Aborts the transactions whose time is over. Their producers are fenced.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<Ended> {
        let overdue = |entry: &Registration| entry.open.as_ref().is_some_and(|open| open.deadline <= now);
        let entries = self.ids.iter_mut().filter(|(_, entry)| overdue(entry));
        entries.filter_map(|(id, entry)| entry.finish(id, false, "is aborted: it took too long")).collect()
    }

    /// When the next transaction has taken too long.
    pub(crate) fn next_change(&self) -> Option<Instant> {
        self.ids.values().filter_map(|entry| entry.open.as_ref()).map(|open| open.deadline).min()
    }

    /// What a group has committed for a partition.
    pub(crate) fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.groups.get(&(Arc::from(group), (Arc::from(topic), partition))).copied()
    }
}

/// The registration of the id, if it is still that producer's.
fn registered<'a>(
    ids: &'a mut BTreeMap<Arc<str>, Registration>,
    id: &Arc<str>,
    identity: Identity,
) -> Result<&'a mut Registration, ErrorCode> {
    let found = ids.get_mut(id).filter(|entry| entry.identity.producer == identity.producer);
    let entry = found.ok_or(ErrorCode::InvalidProducerIdMapping)?;
    if entry.identity.epoch == identity.epoch { Ok(entry) } else { Err(ErrorCode::ProducerFenced) }
}

impl Registration {
    /// The open transaction; opens one if there is none.
    fn open(&mut self, now: Instant) -> &mut OpenTransaction {
        let deadline = now + self.timeout;
        self.open.get_or_insert_with(|| OpenTransaction {
            deadline,
            partitions: BTreeSet::new(),
            offsets: BTreeMap::new(),
        })
    }

    /// Ends the open transaction, if there is one. What comes from its producer later is of an old epoch.
    fn finish(&mut self, id: &Arc<str>, is_commit: bool, what: &'static str) -> Option<Ended> {
        let open = self.open.take()?;
        self.identity.epoch += 1;
        Some(Ended { id: Arc::clone(id), partitions: open.partitions, identity: self.identity, what, is_commit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn id() -> Arc<str> {
        Arc::from("id")
    }

    fn begun() -> (Coordinator, Identity) {
        let mut coordinator = Coordinator::default();
        let (identity, _) = coordinator.init(&id(), 1, TIMEOUT);
        coordinator.join(Instant::ZERO, &id(), identity, (Arc::from("t"), 0)).unwrap();
        (coordinator, identity)
    }

    #[test]
    fn the_same_end_again_has_the_same_answer_and_the_other_end_is_refused() {
        let (mut coordinator, identity) = begun();
        let (next, ended) = coordinator.end(&id(), identity, true).unwrap();
        assert_eq!((next.epoch, ended.unwrap().partitions.len()), (identity.epoch + 1, 1));
        let (again, ended) = coordinator.end(&id(), identity, true).unwrap();
        assert!(again == next && ended.is_none());
        assert_eq!(coordinator.end(&id(), identity, false).err(), Some(ErrorCode::ProducerFenced));
        assert_eq!(coordinator.end(&id(), next, true).err(), Some(ErrorCode::InvalidTxnState), "nothing is open");
        coordinator.join(Instant::ZERO, &id(), next, (Arc::from("t"), 0)).unwrap();
        assert!(coordinator.end(&id(), identity, true).unwrap().1.is_none(), "a late one ends no later transaction");
    }

    #[test]
    fn a_later_producer_aborts_what_is_open_and_fences_the_earlier_one() {
        let (mut coordinator, old) = begun();
        let (new, ended) = coordinator.init(&id(), 2, TIMEOUT);
        assert_eq!((new, ended.map(|ended| ended.is_commit)), (Identity { producer: 1, epoch: 1 }, Some(false)));
        assert_eq!(coordinator.end(&id(), old, true).err(), Some(ErrorCode::ProducerFenced));
        let place = (Arc::from("t"), 0);
        assert_eq!(coordinator.join(Instant::ZERO, &id(), old, place), Err(ErrorCode::InvalidProducerEpoch));
        let other = Identity { producer: 7, epoch: 0 };
        assert_eq!(coordinator.end(&id(), other, true).err(), Some(ErrorCode::InvalidProducerIdMapping));
    }

    #[test]
    fn a_transaction_that_takes_too_long_is_aborted_and_its_offsets_are_not_committed() {
        let (mut coordinator, identity) = begun();
        let group = Arc::from("g");
        coordinator.add_offsets(Instant::ZERO, &id(), identity, &group, &[GroupOffset::new("t", 0, 7)]).unwrap();
        let end = coordinator.next_change().unwrap();
        assert!(coordinator.advance(end - Duration::from_nanos(1)).is_empty());
        assert_eq!(coordinator.advance(end).len(), 1);
        assert_eq!((coordinator.next_change(), coordinator.offset("g", "t", 0)), (None, None));
        assert_eq!(coordinator.end(&id(), identity, true).err(), Some(ErrorCode::ProducerFenced));
    }
}
