//! The client's task: one loop of messages, batches, what is due, and reports.

use std::pin::Pin;
use std::task::{Context, Poll};

use aioproducer_core::Instant;
use aioproducer_core::backend::{BackgroundTask, Call, Clock, Connections, Driver, FailureKind, Message, Trouble};

use super::calls;
use super::known::Known;
use super::lane::Numbering;
use super::mailbox::{Mail, Mailbox};
use super::reports::Reports;
use super::requests::{Gate, Requests};
use super::settings::Settings;
use super::transactions::{Transactions, closed};
use crate::cluster::{Shared, Timeline, What};
use crate::sync::Arc;

const ALL_DOWN: &str = "no broker of the simulated cluster is up";

/// How often the loop goes round before other tasks have their turn.
const ROUNDS: usize = 64;

/// It owns all that the client has. If it is dropped before the producer's end, its runtime has ended: it ends the client then.
pub(super) struct ClientTask<R: Message, D: Driver<R>> {
    driver: Arc<D>,
    cluster: Shared,
    pub(super) producer: u64,
    timeline: Timeline,
    mailbox: Arc<Mailbox>,
    requests: Requests<R>,
    transactions: Option<Transactions>,
    /// What may be sent without transactions.
    gate: Gate,
    timer: Option<(Instant, BackgroundTask)>,
    connections: Connections,
    has_ended: bool,
}

impl<R: Message, D: Driver<R>> ClientTask<R, D> {
    pub(super) fn new(
        driver: Arc<D>,
        cluster: Shared,
        settings: Settings,
        clock: &Arc<dyn Clock>,
        known: Arc<Known>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let (producer, timeline) = cluster.join(clock, &mailbox.signal);
        let numbering = settings.idempotent.then_some(Numbering { producer, epoch: None });
        let gate = Gate { numbering, is_open: true, is_aborting: false };
        let transactions = Transactions::new(cluster.clone(), settings.clone(), producer);
        let requests = Requests::new(cluster.clone(), settings, producer, known);
        let connections = cluster.lock().connections();
        // Its first poll announces an idle worker.
        mailbox.post(|mail| mail.is_woken = true);
        Self {
            driver,
            cluster,
            producer,
            timeline,
            mailbox,
            requests,
            transactions,
            gate,
            timer: None,
            connections,
            has_ended: false,
        }
    }

    fn round(&mut self) -> Poll<()> {
        let now = self.timeline.now();
        let (connections, changed) = {
            let mut state = self.cluster.lock();
            let changed = state.see(now);
            (state.connections(), changed)
        };
        changed.iter().for_each(|signal| signal.set());
        if connections != self.connections {
            self.connections = connections;
            self.driver.connections_changed();
            let trouble = || Trouble { kind: FailureKind::TimedOut, reason: ALL_DOWN.into() };
            self.driver.set_trouble(None, (connections.up == 0).then(trouble));
        }
        let mail = self.mailbox.take();
        if mail.shut_down {
            self.end();
            return Poll::Ready(());
        }
        let mut reports = Reports::default();
        self.requests.purge(mail.purge, &mut reports);
        let is_woken = mail.is_woken;
        self.answer_calls(now, mail, &mut reports);
        self.note(false, &reports);
        self.requests.refresh(now);
        // To ask when it was not woken would announce one idle worker more.
        if is_woken {
            self.requests.take_batches(&*self.driver, now, self.gate());
        }
        self.requests.run_due(now, self.gate(), &mut reports);
        self.requests.expire(now, &mut reports);
        self.note(false, &reports);
        if self.gate().is_aborting {
            self.requests.take_back(&mut reports);
        }
        let has_sent = self.requests.send(now, self.gate(), &mut reports);
        self.note(has_sent, &reports);
        self.run_transactions(now, &mut reports);
        self.pass(reports);
        self.complete_calls();
        Poll::Pending
    }

    fn gate(&self) -> Gate {
        self.transactions.as_ref().map_or(self.gate, Transactions::gate)
    }

    /// The transaction hears of records that were sent, and of those that failed.
    fn note(&mut self, has_sent: bool, reports: &Reports<R>) {
        let Some(transactions) = &mut self.transactions else { return };
        if has_sent {
            transactions.note_sent();
        }
        if reports.has_failed {
            transactions.note_failed();
        }
        if let Some(failure) = reports.fatal {
            transactions.fail(failure);
        }
    }

    fn run_transactions(&mut self, now: Instant, reports: &mut Reports<R>) {
        let Some(transactions) = &mut self.transactions else { return };
        if let Some(failure) = transactions.run(now, self.requests.records) {
            // A second report of it changes nothing.
            reports.fatal = Some(failure);
            self.requests.purge((true, true), reports);
        }
    }

    fn answer_calls(&mut self, now: Instant, mail: Mail, reports: &mut Reports<R>) {
        for request in mail.calls {
            if request.call.is_transactional()
                && let Some(transactions) = &mut self.transactions
            {
                if transactions.call(now, *request) {
                    self.requests.take_back(reports);
                }
                continue;
            }
            let topics = if let Call::Ready { topics } = &request.call { &topics[..] } else { &[] };
            let names: Vec<_> = topics.iter().filter_map(|topic| self.driver.topic_name(*topic)).collect();
            let result = calls::answer(&self.cluster.lock(), &request.call, &names);
            self.driver.complete_call(request.id, result);
        }
    }

    /// After the reports, so that a commit is known later than the deliveries that it waited for.
    fn complete_calls(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        for (id, result) in transactions.take_answers() {
            self.driver.complete_call(id, result);
        }
    }

    fn pass(&self, mut reports: Reports<R>) {
        if let Some(failure) = reports.fatal {
            self.driver.fatal(failure);
        }
        if !reports.released.is_empty() {
            self.driver.release(&mut reports.released);
        }
        if !reports.list.is_empty() {
            self.driver.report(reports.list.into_iter());
        }
    }

    /// Fails what the client has, and ends.
    fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let mail = self.mailbox.close();
        for request in mail.calls {
            self.driver.complete_call(request.id, Err(closed(request.call == Call::Commit)));
        }
        let mut reports = Reports::default();
        self.requests.purge((true, true), &mut reports);
        self.pass(reports);
        if let Some(transactions) = &mut self.transactions {
            transactions.end();
        }
        self.complete_calls();
        let (now, producer) = (self.timeline.now(), self.producer);
        self.cluster.lock().trace(now, What::Ended { producer });
        self.driver.ended();
    }

    /// When to look again though no message arrives.
    fn next(&self) -> Option<Instant> {
        let change = self.cluster.lock().next_change();
        let records = self.requests.records;
        let transactions = self.transactions.as_ref().and_then(|transactions| transactions.next(records));
        self.requests.next().into_iter().chain(transactions).chain(change).min()
    }

    /// Whether the time to look again has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.next() else {
            self.timer = None;
            return false;
        };
        if self.timer.as_ref().is_none_or(|(armed, _)| *armed != at) {
            self.timer = Some((at, self.timeline.clock().sleep_until(self.timeline.on_clock(at))));
        }
        let is_over = self.timer.as_mut().is_some_and(|(_, timer)| timer.as_mut().poll(cx).is_ready());
        if is_over {
            self.timer = None;
        }
        is_over
    }
}

impl<R: Message, D: Driver<R>> Future for ClientTask<R, D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            let is_called = this.mailbox.signal.take(cx.waker());
            if !is_called && !this.poll_timer(cx) {
                return Poll::Pending;
            }
            if this.round().is_ready() {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Message, D: Driver<R>> Drop for ClientTask<R, D> {
    fn drop(&mut self) {
        self.end();
    }
}
