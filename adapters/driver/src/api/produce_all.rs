//! Many records, one future.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aioproducer_core::Lane;

use crate::admission::error::SendError;
use crate::admission::inbox::Inbox;
use crate::admission::lane_waiters::WaitingPlace;
use crate::admission::wait_limit::{WaitLimit, wait_error};
use crate::observe::BulkSpan;
use crate::outcome::bulk::{Member, Members, PIECE};
use crate::outcome::report::DeliveryReport;
use crate::outcome::ticket::Ticket;
use crate::record::Record;
use crate::runtime::poll_turn;
use crate::state::admit::{self, Admission, Entered};
use crate::state::effects::Discard;
use crate::state::shared::Shared;

/// Records that are accepted in one poll at most; each may be copied to memory that was never touched.
const CHUNK: usize = 32;

/// Bytes of records that are accepted in one poll, but for the last record: they may have to be copied.
const BYTES: usize = 128 << 10;

/// Records that are accepted in one poll when the inbox is shut: each takes the state's lock, and wakes whom it concerns.
const SLOW: usize = 4;

/// Outcomes that are gathered in one poll at most.
const GATHER: usize = 128;

/// The outcomes of [`AioProducer::produce_all`](crate::AioProducer::produce_all), in the order of the records.
///
/// ```
/// # use aioproducer_driver::future::Outcomes;
/// fn delivered(outcomes: &Outcomes) -> usize {
///     outcomes.iter().filter(|outcome| outcome.is_ok()).count()
/// }
/// ```
pub type Outcomes = Vec<Result<DeliveryReport, SendError>>;

/// The future of [`AioProducer::produce_all`](crate::AioProducer::produce_all).
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record};
/// async fn seed(producer: &AioProducer) -> usize {
///     let all = producer.produce_all((0..100).map(|number| Record::to("numbers").payload(number.to_string())));
///     all.await.into_iter().flatten().count()
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct ProduceAll<'a, 'r, I> {
    shared: &'a Shared,
    /// `None` once it was empty.
    records: Option<I>,
    /// Taken from `records`; what is left of those before `next` is of no value.
    chunk: Vec<Record<'r>>,
    /// The first of `chunk` that was not yet tried.
    next: usize,
    /// What is known of some of those from `next` on.
    checked: Vec<(Lane, usize)>,
    /// Where the one at `next` waits.
    place: Option<WaitingPlace>,
    /// How long it may still wait.
    wait_limit: WaitLimit,
    /// Where the outcomes gather, once a record was tried.
    bulk: Option<u32>,
    tried: usize,
    accepted: u32,
    /// Records that were not accepted, by their place among all.
    refused: Refused,
    /// What became of the accepted ones, once all of it is known.
    settled: Option<<Members as IntoIterator>::IntoIter>,
    outcomes: Outcomes,
    /// They come through a transaction.
    transaction: bool,
    trace: BulkSpan,
}

/// A queue of records that were not accepted. It is in pieces, since moving a long list takes too much of a poll.
#[derive(Default)]
struct Refused(VecDeque<VecDeque<(usize, SendError)>>);

impl Refused {
    fn push_back(&mut self, refused: (usize, SendError)) {
        match self.0.back_mut() {
            Some(last) if last.len() < PIECE => last.push_back(refused),
            _ => {
                let mut piece = VecDeque::with_capacity(PIECE);
                piece.push_back(refused);
                self.0.push_back(piece);
            }
        }
    }

    /// The first, if it has this place among all records.
    fn pop_at(&mut self, place: usize) -> Option<SendError> {
        let first = self.0.front_mut()?;
        first.front().filter(|(at, _)| *at == place)?;
        let (_, error) = first.pop_front()?;
        if first.is_empty() {
            self.0.pop_front();
        }
        Some(error)
    }
}

impl<'a, 'r, I> ProduceAll<'a, 'r, I>
where
    I: Iterator,
    I::Item: Into<Record<'r>>,
{
    pub(crate) fn new(shared: &'a Shared, records: I) -> Self {
        Self {
            shared,
            records: Some(records),
            chunk: Vec::new(),
            next: 0,
            checked: Vec::new(),
            place: None,
            wait_limit: WaitLimit::default(),
            bulk: None,
            tried: 0,
            accepted: 0,
            refused: Refused::default(),
            settled: None,
            outcomes: Vec::new(),
            transaction: false,
            trace: BulkSpan::default(),
        }
    }

    pub(crate) fn in_transaction(mut self) -> Self {
        self.transaction = true;
        self
    }

    /// Takes records from the caller's iterator, which runs while nothing is locked.
    fn refill(&mut self) {
        self.chunk.clear();
        self.next = 0;
        let Some(records) = &mut self.records else { return };
        self.chunk.extend(records.by_ref().take(CHUNK).map(Into::into));
        self.trace.chunk(&self.chunk);
        if self.chunk.is_empty() {
            self.records = None;
        }
    }

    /// Tries the chunk. Pending when the pool is full, or this was much for one poll.
    fn enter(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared;
        let bulk = *self.bulk.get_or_insert_with(|| shared.with(|state, _| state.bulk.open()));
        let (mut bytes, mut slow) = (0, 0);
        loop {
            if self.place.is_none() {
                bytes += self.enter_many(bulk, BYTES.saturating_sub(bytes));
            }
            let Some(record) = self.chunk.get_mut(self.next) else { return Poll::Ready(()) };
            if bytes >= BYTES || slow >= SLOW {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            bytes += record.size();
            slow += 1;
            let index = self.accepted;
            self.trace.member(&shared.observer.spans, record);
            let sink = |_: &Shared, _: &mut Inbox| (Ticket::to_bulk(bulk, index), ());
            let entered = match Admission::check_in(shared, record, self.transaction) {
                Ok(entry) => entry.enter(shared, sink, &self.place.take(), &mut self.wait_limit, cx.waker()),
                Err(error) => Entered::Failed(error),
            };
            match entered {
                Entered::Accepted(()) => self.accepted += 1,
                Entered::Failed(error) => {
                    self.trace.refused(error.error_type(), &error);
                    self.refused.push_back((self.tried, error.into_owned().into()));
                }
                Entered::Waiting(place) => {
                    let (policy, own) = (shared.overflow, record.get_timeout());
                    let Some(over) =
                        self.wait_limit.is_over(&*shared.runtime, policy, own, shared.context.delivery_timeout, cx)
                    else {
                        self.place = Some(place);
                        return Poll::Pending;
                    };
                    shared.with(|state, effects| state.leave(Some(place), effects));
                    let error = wait_error(over, record.take());
                    self.trace.refused(error.error_type(), &error);
                    self.refused.push_back((self.tried, error.into_owned().into()));
                }
            }
            self.wait_limit.reset();
            self.next += 1;
            self.tried += 1;
        }
    }

    /// Has as many records as possible accepted under one lock, up to one that is not fit, finds no room, or comes after
    /// `limit` bytes. Returns the bytes of those accepted.
    fn enter_many(&mut self, bulk: u32, limit: usize) -> usize {
        let shared = self.shared;
        let records = &mut self.chunk[self.next..];
        self.checked.clear();
        let mut bytes = 0;
        for record in records.iter_mut() {
            if bytes >= limit {
                break;
            }
            self.trace.member(&shared.observer.spans, record);
            let Some(checked) = shared.check(record, self.transaction) else {
                break;
            };
            self.checked.push(checked);
            bytes += checked.1;
        }
        let first = self.accepted;
        let count = admit::leave_run(shared, records, &self.checked, |index| Ticket::to_bulk(bulk, first + index));
        self.accepted += count as u32;
        self.tried += count;
        self.next += count;
        self.checked[..count].iter().map(|(_, size)| size).sum()
    }

    /// Puts what was refused between what was accepted, some of it in each call; true when all is there.
    fn gather(&mut self, accepted: &mut impl Iterator<Item = Member>) -> bool {
        let topics = &self.shared.topics;
        let end = self.tried.min(self.outcomes.len() + GATHER);
        for place in self.outcomes.len()..end {
            if let Some(error) = self.refused.pop_at(place) {
                self.outcomes.push(Err(error));
            } else {
                match accepted.next() {
                    Some(Member::Delivered(topic, delivered)) => {
                        self.outcomes.push(Ok(DeliveryReport::new(topics, topic, delivered)));
                    }
                    Some(Member::Failed(error)) => self.outcomes.push(Err(error.into())),
                    Some(Member::Pending) | None => return true,
                }
            }
        }
        end == self.tried
    }
}

impl<'r, I> Future for ProduceAll<'_, 'r, I>
where
    I: Iterator + Unpin,
    I::Item: Into<Record<'r>>,
{
    type Output = Outcomes;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcomes> {
        let this = &mut *self;
        if this.next == this.chunk.len() {
            this.refill();
        }
        if !this.chunk.is_empty() {
            ready!(this.enter(cx));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.trace.counted(this.tried);
        if let Some(bulk) = this.bulk {
            let accepted = this.accepted as usize;
            let mut waker = Some(cx.waker().clone());
            let polled = this.shared.with(|state, _| state.bulk.poll(bulk, accepted, &mut waker));
            let Some(members) = polled else { return Poll::Pending };
            this.bulk = None;
            this.settled = Some(members.into_iter());
            this.outcomes.reserve_exact(this.tried);
        }
        let Some(mut settled) = this.settled.take() else {
            // There was no record.
            return poll_turn(&*this.shared.runtime, cx).map(|()| Vec::new());
        };
        if this.gather(&mut settled) {
            this.trace.end();
            return Poll::Ready(std::mem::take(&mut this.outcomes));
        }
        this.settled = Some(settled);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I> Drop for ProduceAll<'_, '_, I> {
    fn drop(&mut self) {
        if self.place.is_none() && self.bulk.is_none() {
            return;
        }
        self.shared.with(|state, effects| {
            state.leave(self.place.take(), effects);
            if let Some(bulk) = self.bulk.take() {
                let (members, waker) = state.bulk.abandon(bulk, self.accepted as usize);
                effects.discard.push(Discard::Members(members));
                effects.discard.extend(waker.map(Discard::Waker));
            }
        });
    }
}

impl<I> fmt::Debug for ProduceAll<'_, '_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProduceAll").field("tried", &self.tried).finish_non_exhaustive()
    }
}
