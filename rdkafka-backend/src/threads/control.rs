//! The control thread: owns the client, starts the other threads, makes the short blocking calls, and ends everything.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Driver, Message};

use crate::catch_panic::catch_panic;
use crate::coordination::{CallKind, Signals};
use crate::ffi::{Cells, Client, LastReports};
use crate::partition::partitioning::Partitioning;
use crate::reports::{Reader, last_report};
use crate::threads::batch_sender::BatchSender;
use crate::threads::driver_link::DriverLink;
use crate::threads::inline_worker::InlineWorker;
use crate::threads::shutdown::{Shutdown, client_has_ended, dropped};
use crate::threads::{broker_calls, probe, worker};

/// The longest call that waits for deliveries. Other requests wait meanwhile.
const FLUSH_MS: i32 = 50;

/// The longest call that has librdkafka connect again.
const CONNECT_MS: i32 = 50;

/// The number of such calls that librdkafka gets to report purged records before it is destroyed.
const LAST_FLUSHES: usize = 15;

/// The pause of a flush when librdkafka has nothing (more) to send.
const FLUSH_PAUSE: Duration = Duration::from_millis(10);

/// What the driver's handle uses of the threads.
pub(crate) type Started<R, E> = (Arc<InlineWorker<R>>, Arc<Shutdown<R, E>>);

/// Starts all threads or none.
pub(crate) fn start<R: Message, E: Driver<R>>(
    client: Client<R>,
    driver: Arc<E>,
    signals: Arc<Signals>,
    workers: usize,
    partitioning: &Partitioning,
    warm_up: bool,
) -> io::Result<Started<R, E>> {
    let (started, outcome) = mpsc::channel();
    let client = Arc::new(client);
    let single = BatchSender::for_single_records(Arc::clone(&client), partitioning.clone());
    let inline_worker = Arc::new(InlineWorker::new(single));
    let senders: Vec<_> = (0..workers).map(|_| BatchSender::new(Arc::clone(&client), partitioning.clone())).collect();
    let link = Arc::new(DriverLink::new(driver));
    let (cells, context) = (client.cells(), Arc::clone(client.context()));
    let shutdown = Arc::new(Shutdown::new(Arc::clone(&link), cells, context, Arc::clone(&signals)));
    let threads = Threads {
        client,
        link,
        signals,
        reader: Arc::new(Reader::default()),
        inline_worker: Arc::clone(&inline_worker),
        shutdown: Arc::clone(&shutdown),
        partitioning: partitioning.clone(),
    };
    let control = move || {
        let (workers, refused) = threads.start_workers(senders);
        if let Some(error) = refused {
            threads.signals.shut_down();
            workers.into_iter().for_each(join);
            threads.close_inline_worker();
            drop(threads.shutdown.finish());
            drop(threads);
            let _ = started.send(Err(error));
            return;
        }
        let _ = started.send(Ok(()));
        let callers = threads.serve(warm_up);
        threads.end(workers, callers);
    };
    let thread = Builder::new().name("aioproducer-control".into()).spawn(control)?;
    let started = outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread ended")));
    if let Err(error) = started {
        join(thread);
        return Err(error);
    }
    Ok((inline_worker, shutdown))
}

/// Waits for a thread's end. The panic hook has reported its panic, if there was one.
fn join(thread: JoinHandle<()>) {
    let _ = thread.join();
}

/// What the threads share.
struct Threads<R: Message, E> {
    client: Arc<Client<R>>,
    link: Arc<DriverLink<E>>,
    signals: Arc<Signals>,
    reader: Arc<Reader<R>>,
    inline_worker: Arc<InlineWorker<R>>,
    shutdown: Arc<Shutdown<R, E>>,
    partitioning: Partitioning,
}

impl<R: Message, E: Driver<R>> Threads<R, E> {
    /// Starts the workers. Returns those that were started, and the error if not all were.
    fn start_workers(&self, senders: Vec<BatchSender<R>>) -> (Vec<JoinHandle<()>>, Option<io::Error>) {
        let mut workers = Vec::new();
        for (number, sender) in senders.into_iter().enumerate() {
            let Some(driver) = self.link.driver() else { break };
            let (signals, reader, inline_worker) =
                (Arc::clone(&self.signals), Arc::clone(&self.reader), Arc::clone(&self.inline_worker));
            let work = move || worker::run(sender, &*driver, &signals, &reader, &inline_worker);
            match Builder::new().name(format!("aioproducer-worker-{number}")).spawn(work) {
                Ok(thread) => workers.push(thread),
                Err(error) => return (workers, Some(error)),
            }
        }
        (workers, None)
    }

    /// Handles requests until the backend is shut down. Returns the other threads that it has started: one for each kind of
    /// broker calls, from the first such call on, and the metadata probe, while it has work.
    fn serve(&self, mut warm_up: bool) -> Vec<JoinHandle<()>> {
        let (mut limit, mut look) = (None, None::<Instant>);
        let mut callers = [None, None];
        let mut probe: Option<JoinHandle<()>> = None;
        loop {
            let until_look = look.map(|at| at.saturating_duration_since(Instant::now()));
            let requests = self.signals.requests(limit.into_iter().chain(until_look).min());
            if requests.shut_down {
                return callers.into_iter().flatten().chain(probe).collect();
            }
            if requests.connection {
                if let Some(driver) = self.link.driver() {
                    driver.connections_changed();
                }
                self.connect();
            }
            if requests.topic && self.signals.needs_probe() {
                // The last one has ended, or is about to.
                probe.take().into_iter().for_each(join);
                probe = self.start_probe(std::mem::take(&mut warm_up));
            }
            if requests.call {
                for kind in CallKind::ALL {
                    let caller = &mut callers[kind as usize];
                    if caller.is_none() && self.signals.has_call(kind) {
                        *caller = self.start_caller(kind);
                    }
                }
            }
            if requests.watch || look.is_some_and(|at| at <= Instant::now()) {
                look = self.look(requests.watch);
            }
            broker_calls::answer_overdue(&self.client, &self.link, &self.signals);
            if requests.token {
                self.client.deliver_token();
            }
            if requests.purge_queued || requests.purge_in_flight {
                self.client.purge(requests.purge_queued, requests.purge_in_flight);
            }
            let may_flush = requests.flush || limit.is_some();
            let flushing = may_flush && self.link.driver().is_some_and(|driver| driver.is_flushing());
            limit = flushing.then_some(FLUSH_PAUSE);
            if flushing {
                self.client.flush(FLUSH_MS);
            }
        }
    }

    /// Has librdkafka connect again if no connection is up. By itself, it looks every second whether there is one, and connects at
    /// once if a request needs one. Before a topic is in use that would be a request for all topics.
    fn connect(&self) {
        if self.client.connections().get().is_some_and(|connections| connections.up == 0)
            && let Some(topic) = self.client.any_topic()
        {
            // The answer is of no use.
            drop(self.client.request_metadata(Some(&topic), CONNECT_MS));
        }
    }

    /// Reports which partitions have become unavailable or are answered again. Returns when to look again.
    fn look(&self, was_asked: bool) -> Option<Instant> {
        let (changes, next) = self.client.topic_states().look(Instant::now(), was_asked);
        if let Some(driver) = self.link.driver()
            && !changes.is_empty()
        {
            let context = self.client.context();
            context.router.availability(&context.sinks, &*driver, changes);
        }
        next
    }

    /// Without its thread, the probe's findings are missing, and records fail later without them.
    fn start_probe(&self, warm_up: bool) -> Option<JoinHandle<()>> {
        let (client, link, signals) = (Arc::clone(&self.client), Arc::clone(&self.link), Arc::clone(&self.signals));
        let work = move || probe::run(&client, &link, &signals, warm_up);
        let started = Builder::new().name("aioproducer-probe".into()).spawn(work);
        if started.is_err() {
            self.signals.probe_failed_to_start();
        }
        started.ok()
    }

    fn start_caller(&self, kind: CallKind) -> Option<JoinHandle<()>> {
        let (client, link, signals) = (Arc::clone(&self.client), Arc::clone(&self.link), Arc::clone(&self.signals));
        let name = match kind {
            CallKind::Transactional => "aioproducer-transactions",
            CallKind::Other => "aioproducer-metadata",
        };
        let partitioning = self.partitioning.clone();
        let work = move || broker_calls::run(kind, &client, &link, &signals, &partitioning);
        let started = Builder::new().name(name.into()).spawn(work);
        if started.is_err() {
            broker_calls::refuse(&self.link, &self.signals);
        }
        started.ok()
    }

    /// Ends all other threads and the client, and reports the records that they still hold. If that takes too long, the watchdog
    /// makes the last call to the driver, and this thread goes on until the client has ended.
    fn end(self, workers: Vec<JoinHandle<()>>, callers: Vec<JoinHandle<()>>) {
        workers.into_iter().for_each(join);
        self.close_inline_worker();
        broker_calls::refuse(&self.link, &self.signals);
        self.purge();
        callers.into_iter().for_each(join);
        let Self { client, link, shutdown, .. } = self;
        // All other owners have ended.
        let Some(client) = Arc::into_inner(client) else { return };
        let (last, cells) = client.close();
        let driver = link.cut();
        shutdown.finish().into_iter().for_each(join);
        let lent = Arc::into_inner(cells).into_iter().flat_map(Cells::into_records);
        match driver {
            Some(driver) => report_last(&*driver, last, lent),
            None => {
                // The application has copies. The owner of a payload may panic when the last one is dropped.
                let records = lent.map(|(_, record)| record);
                for record in records.chain(last.into_iter().filter_map(|(_, record)| record)) {
                    catch_panic(|| drop(record));
                }
                client_has_ended();
            }
        }
    }

    /// Hands off the batches that were deferred to workers, which have ended. If the last call to the driver was made, their
    /// records have an outcome already.
    fn close_inline_worker(&self) {
        self.inline_worker.close(self.link.driver().as_deref());
    }

    /// Makes librdkafka report the records that it still holds.
    fn purge(&self) {
        for _ in 0..LAST_FLUSHES {
            self.client.purge(true, true);
            let empty = self.client.flush(FLUSH_MS);
            let Some(driver) = self.link.driver() else { return };
            self.reader.finish(&self.client, &*driver);
            if empty {
                return;
            }
        }
    }
}

/// Passes on the last reports of the client and the borrowed records that it dropped without a report, and makes the last call.
fn report_last<R: Message>(driver: &impl Driver<R>, last: LastReports<R>, lent: impl Iterator<Item = (SlotId, R)>) {
    let mut delivered = Vec::new();
    let reports: Vec<_> = last
        .into_iter()
        .filter_map(|(report, mut record)| {
            let report = last_report(report, &mut record);
            delivered.extend(record);
            report
        })
        .collect();
    driver.release(&mut delivered);
    driver.report(reports.into_iter());
    driver.report(lent.map(dropped));
    driver.ended();
}
