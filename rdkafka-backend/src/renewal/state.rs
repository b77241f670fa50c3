//! Where a renewal is, and what that means for hand-offs and reports. It is behind [`Shared`](super::shared::Shared)'s lock.

use std::time::Instant;

use aioproducer_core::backend::{Failure, FailureKind, Request, Status};
use aioproducer_core::{MessageBatch, Record, SlotId};

use super::kept::{Kept, KeptRecords};
use super::numbered::Numbered;
use crate::events::{RenewalCause, Renewed};
use crate::failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client works.
    Running,
    /// It gets no more records, and answers for those that it has sent.
    Draining,
    /// It ends.
    Ending,
    /// The new one, which may not be there yet, gets what the old one gave back.
    Resending,
    /// The driver has got its last call.
    Ended,
}

pub(super) struct State<R> {
    pub(super) phase: Phase,
    /// Why the client is renewed, and since when that is known.
    pub(super) cause: Option<(RenewalCause, Instant)>,
    /// The application ends the producer.
    pub(super) is_closing: bool,
    /// The old client has ended.
    pub(super) has_ended: bool,
    /// From the end of the old client on, and until there is a new one.
    pub(super) is_between: bool,
    pub(super) kept: KeptRecords<R>,
    /// Calls that wait for the new client: one of each kind at most.
    #[expect(clippy::vec_box, reason = "the seam passes boxes, and they go on as they came")]
    pub(super) calls: Vec<Box<Request>>,
    /// A batch of kept records is with a worker.
    resending: bool,
    /// The new client's queue is full, until it reports.
    is_full: bool,
    /// The application has purged queued records during the renewal.
    is_purged: bool,
    /// Renewals have not helped, so there are no more.
    pub(super) is_futile: bool,
    pub(super) resent: usize,
    pub(super) handed_back: usize,
}

impl<R: Record> State<R> {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Running,
            cause: None,
            is_closing: false,
            has_ended: false,
            is_between: false,
            kept: KeptRecords::default(),
            calls: Vec::new(),
            resending: false,
            is_full: false,
            is_purged: false,
            is_futile: false,
            resent: 0,
            handed_back: 0,
        }
    }

    /// The client shall be replaced. False if that is known already, or the producer ends.
    pub(super) fn begin(&mut self, cause: RenewalCause, now: Instant) -> bool {
        let begins = matches!(self.phase, Phase::Running | Phase::Resending) && !self.is_closing && !self.is_futile;
        if begins {
            // The cause of a renewal that was interrupted by another one stays, and so does its time.
            self.cause.get_or_insert((cause, now));
            self.phase = Phase::Draining;
        }
        begins
    }

    /// Whether the driver's batches may be taken.
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// The next batch of kept records. There is one at a time: a record with a key may have been handed off in two lanes.
    pub(super) fn take(&mut self, into: &mut Vec<(SlotId, Numbered<R>)>) -> Option<MessageBatch> {
        if self.phase != Phase::Resending || self.resending || self.is_full {
            return None;
        }
        let batch = self.kept.take(into)?;
        self.resending = true;
        self.resent += batch.len();
        Some(batch)
    }

    /// A batch of kept records is settled, and `unsent` of them were not sent; `is_full` says whether for want of room.
    pub(super) fn settled(&mut self, unsent: usize, is_full: bool) {
        self.resending = false;
        self.resent -= unsent;
        self.is_full |= is_full;
    }

    /// Whether a batch of kept records is with a worker, so the next batch that is settled is this one.
    pub(super) fn is_resending(&self) -> bool {
        self.resending
    }

    /// The client has reported records. Returns whether its queue has room again.
    pub(super) fn reported(&mut self) -> bool {
        std::mem::take(&mut self.is_full)
    }

    /// A record of a kept batch was refused, as the queue is full. It goes again.
    pub(super) fn keep_refused(&mut self, slot: SlotId, record: Numbered<R>) {
        let failure = failure::of(failure::QUEUE_FULL, Status::NotPersisted);
        self.kept.keep(Kept { slot, record, failure });
    }

    /// Ends the renewal, if the new client has all records. Returns whether it did.
    pub(super) fn finish(&mut self) -> bool {
        let is_done = self.phase == Phase::Resending && !self.resending && self.kept.is_empty();
        if is_done {
            self.phase = Phase::Running;
            self.is_purged = false;
        }
        is_done
    }

    /// Decides whether a record that the client gives back is sent again. `None` if it is.
    pub(super) fn keep(&mut self, slot: SlotId, failure: Failure, record: Numbered<R>) -> Option<Numbered<R>> {
        let renews = !self.is_closing && !matches!(self.phase, Phase::Running | Phase::Ended);
        if !renews {
            return Some(record);
        }
        // A stalled client has not purged anything before it ends.
        let is_given_up = match failure.kind {
            FailureKind::Fatal => true,
            FailureKind::Purged | FailureKind::Closed => {
                !self.is_purged && (self.phase == Phase::Ending || self.is_fatal())
            }
            _ => false,
        };
        if is_given_up && failure.status == Status::NotPersisted {
            self.kept.keep(Kept { slot, record, failure });
            return None;
        }
        self.handed_back += usize::from(failure.status == Status::PossiblyPersisted);
        Some(record)
    }

    fn is_fatal(&self) -> bool {
        self.fatal().is_some()
    }

    /// The fatal error for which the client is replaced.
    pub(super) fn fatal(&self) -> Option<Failure> {
        match self.cause {
            Some((RenewalCause::Fatal(failure), _)) => Some(failure),
            _ => None,
        }
    }

    /// Stays with the client. Returns the records that are not sent again.
    pub(super) fn stop(&mut self) -> Vec<Kept<R>> {
        self.phase = Phase::Running;
        self.cause = None;
        self.kept.take_all()
    }

    /// What a renewal that is over has done; `None` the second time.
    pub(super) fn renewed(&mut self, now: Instant) -> Option<Renewed> {
        let (cause, since) = self.cause.take()?;
        let (resent, handed_back) = (std::mem::take(&mut self.resent), std::mem::take(&mut self.handed_back));
        Some(Renewed { cause, resent, handed_back, took: now.saturating_duration_since(since) })
    }

    /// Gives up the kept records: the application purges what is queued.
    pub(super) fn purge(&mut self) -> Vec<Kept<R>> {
        self.is_purged = !matches!(self.phase, Phase::Running | Phase::Ended);
        self.kept.take_all()
    }
}

#[cfg(test)]
mod tests {
    use aioproducer_core::{Lane, TopicId};

    use super::*;

    struct Rec;

    impl Record for Rec {
        fn lane(&self) -> Lane {
            Lane::new(TopicId(0), Some(0))
        }

        fn size(&self) -> usize {
            1
        }
    }

    fn failure(kind: FailureKind, status: Status) -> Failure {
        Failure::new(kind, status, None, "")
    }

    fn fatal() -> RenewalCause {
        RenewalCause::Fatal(failure(FailureKind::Fatal, Status::PossiblyPersisted))
    }

    fn stall() -> RenewalCause {
        RenewalCause::Stall { topic: "t".into(), partition: 0 }
    }

    fn keeps(state: &mut State<Rec>, kind: FailureKind, status: Status) -> bool {
        let record = Numbered { record: Rec, number: 0 };
        state.keep(SlotId::new(0, 1), failure(kind, status), record).is_none()
    }

    #[test]
    fn s45_only_what_a_client_gives_up_unsent_is_sent_again() {
        use FailureKind::{Broker, Closed, Fatal, Purged, TooLarge};
        use Status::{NotPersisted, PossiblyPersisted};
        let mut state = State::new();
        assert!(!keeps(&mut state, Purged, NotPersisted), "no renewal");
        assert!(state.begin(stall(), Instant::now()) && !state.begin(fatal(), Instant::now()), "one is enough");
        assert!(!keeps(&mut state, Purged, NotPersisted), "the application has purged it");
        assert!(keeps(&mut state, Fatal, NotPersisted));
        state.phase = Phase::Ending;
        for (kind, status, expected) in [
            (Purged, NotPersisted, true),
            (Closed, NotPersisted, true),
            (Purged, PossiblyPersisted, false),
            (Fatal, PossiblyPersisted, false),
            (TooLarge, NotPersisted, false),
            (Broker, NotPersisted, false),
        ] {
            assert_eq!(keeps(&mut state, kind, status), expected, "{kind:?} {status:?}");
        }
        assert_eq!(state.handed_back, 2);
        assert_eq!(state.purge().len(), 3);
        assert!(!keeps(&mut state, Purged, NotPersisted), "the application purges");
        state.is_closing = true;
        assert!(!keeps(&mut state, Closed, NotPersisted), "the producer ends");
    }

    #[test]
    fn s45_after_a_fatal_error_the_client_purges_by_itself() {
        let mut state = State::new();
        assert!(state.begin(fatal(), Instant::now()));
        assert!(keeps(&mut state, FailureKind::Purged, Status::NotPersisted));
        assert_eq!(state.stop().len(), 1, "it is not renewed after all");
        assert!(state.is_running() && state.renewed(Instant::now()).is_none());
    }

    #[test]
    fn s45_kept_records_are_with_the_new_client_before_others() {
        let mut state = State::new();
        assert!(state.begin(fatal(), Instant::now()));
        assert!(keeps(&mut state, FailureKind::Fatal, Status::NotPersisted));
        state.phase = Phase::Resending;
        let mut records = Vec::new();
        assert!(!state.finish() && state.take(&mut records).is_some());
        assert!(!state.finish() && state.take(&mut Vec::new()).is_none(), "the batch is not settled");
        // The queue is full.
        let (slot, record) = records.remove(0);
        state.keep_refused(slot, record);
        state.settled(1, true);
        assert!(!state.finish() && state.take(&mut records).is_none(), "until the client reports");
        assert!(state.reported() && !state.reported());
        assert!(state.take(&mut records).is_some());
        state.settled(0, false);
        assert!(state.finish() && state.is_running() && !state.finish());
        let renewed = state.renewed(Instant::now()).expect("it is over");
        assert_eq!((renewed.resent, renewed.handed_back), (1, 0));
    }
}
