//! The control thread: owns the client, starts the other threads, makes the calls that block, and ends it all.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Backend, Driver, Message};

use crate::catch_panic::catch_panic;
use crate::ffi::{Cells, Client, LastReports};
use crate::partition::choice::Partitioning;
use crate::reports::{self, Reader};
use crate::threads::broker_calls;
use crate::threads::call_queue::Line;
use crate::threads::end::{self, End, dropped};
use crate::threads::gate::Gate;
use crate::threads::inline_worker::InlineWorker;
use crate::threads::scout;
use crate::threads::signals::Signals;
use crate::threads::worker::{self, Worker};

/// Longest time that a call which waits for deliveries keeps other requests from being heard.
const ROUND_MS: i32 = 50;

/// How often librdkafka is given [`ROUND_MS`] to report what was purged, before it is destroyed.
const FAREWELL_ROUNDS: usize = 15;

/// How soon a flush looks again when librdkafka has nothing (more) to send.
const FLUSH_PAUSE: Duration = Duration::from_millis(10);

/// What the driver's hold on the threads needs of them.
pub(crate) type Started<R, E> = (Arc<InlineWorker<R>>, Arc<End<R, E>>);

/// Starts all threads, or none, and opens a inline_worker.
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
    let worker = || Worker::new(Arc::clone(&client), partitioning.clone());
    let inline_worker = Arc::new(InlineWorker::new(Worker::prompt(Arc::clone(&client), partitioning.clone())));
    let staff: Vec<_> = (0..workers).map(|_| worker()).collect();
    let gate = Arc::new(Gate::new(driver));
    let (cells, listeners) = (client.cells(), Arc::clone(client.listeners()));
    let end = Arc::new(End::new(Arc::clone(&gate), cells, listeners, Arc::clone(&signals)));
    let threads = Threads {
        client,
        gate,
        signals,
        reader: Arc::new(Reader::default()),
        inline_worker: Arc::clone(&inline_worker),
        end: Arc::clone(&end),
        partitioning: partitioning.clone(),
    };
    let control = move || {
        let (hired, refused) = threads.hire(staff);
        if let Some(error) = refused {
            threads.signals.shut_down();
            hired.into_iter().for_each(join);
            threads.close_desk();
            drop(threads.end.finish());
            drop(threads);
            let _ = started.send(Err(error));
            return;
        }
        let _ = started.send(Ok(()));
        let callers = threads.serve(warm_up);
        threads.end(hired, callers);
    };
    let thread = Builder::new().name("aioproducer-control".into()).spawn(control)?;
    let started = outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread ended")));
    if let Err(error) = started {
        join(thread);
        return Err(error);
    }
    Ok((inline_worker, end))
}

/// Waits for a thread's end. If it panicked, that has been told.
fn join(thread: JoinHandle<()>) {
    let _ = thread.join();
}

/// What the threads share.
struct Threads<R: Message, E> {
    client: Arc<Client<R>>,
    gate: Arc<Gate<E>>,
    signals: Arc<Signals>,
    reader: Arc<Reader<R>>,
    inline_worker: Arc<InlineWorker<R>>,
    end: Arc<End<R, E>>,
    partitioning: Partitioning,
}

impl<R: Message, E: Driver<R>> Threads<R, E> {
    /// Starts the workers; those that were, and why no more.
    fn hire(&self, workers: Vec<Worker<R>>) -> (Vec<JoinHandle<()>>, Option<io::Error>) {
        let mut hired = Vec::new();
        for (number, worker) in workers.into_iter().enumerate() {
            let Some(driver) = self.gate.open() else { break };
            let (signals, reader, inline_worker) =
                (Arc::clone(&self.signals), Arc::clone(&self.reader), Arc::clone(&self.inline_worker));
            let work = move || worker::run(worker, &*driver, &signals, &reader, &inline_worker);
            match Builder::new().name(format!("aioproducer-worker-{number}")).spawn(work) {
                Ok(thread) => hired.push(thread),
                Err(error) => return (hired, Some(error)),
            }
        }
        (hired, None)
    }

    /// Sees to requests until the backend is shut down. Each caller is started for its line's first call, a scout when there
    /// is something to ask.
    fn serve(&self, mut warm_up: bool) -> Vec<JoinHandle<()>> {
        let mut patience = None;
        let mut callers = [None, None];
        let mut scout: Option<JoinHandle<()>> = None;
        loop {
            let requests = self.signals.requests(patience);
            if requests.shut_down {
                return callers.into_iter().flatten().chain(scout).collect();
            }
            if requests.topic && self.signals.needs_scout() {
                // The last one has gone, or is about to.
                scout.take().into_iter().for_each(join);
                scout = self.start_scout(std::mem::take(&mut warm_up));
            }
            if requests.call {
                for line in Line::ALL {
                    let caller = &mut callers[line as usize];
                    if caller.is_none() && self.signals.has_call(line) {
                        *caller = self.start_caller(line);
                    }
                }
            }
            broker_calls::give_up_overdue(&self.client, &self.gate, &self.signals);
            if requests.token {
                self.client.deliver_token();
            }
            if requests.purge_queued || requests.purge_in_flight {
                self.client.purge(requests.purge_queued, requests.purge_in_flight);
            }
            let is_asked = requests.flush || patience.is_some();
            let flushing = is_asked && self.gate.open().is_some_and(|driver| driver.flushing());
            patience = flushing.then_some(FLUSH_PAUSE);
            if flushing {
                self.client.flush(ROUND_MS);
            }
        }
    }

    /// Without a thread for it, what it would find out is told later, by records that fail.
    fn start_scout(&self, warm_up: bool) -> Option<JoinHandle<()>> {
        let (client, gate, signals) = (Arc::clone(&self.client), Arc::clone(&self.gate), Arc::clone(&self.signals));
        let work = move || scout::run(&client, &gate, &signals, warm_up);
        let started = Builder::new().name("aioproducer-scout".into()).spawn(work);
        if started.is_err() {
            self.signals.lose_scout();
        }
        started.ok()
    }

    fn start_caller(&self, line: Line) -> Option<JoinHandle<()>> {
        let (client, gate, signals) = (Arc::clone(&self.client), Arc::clone(&self.gate), Arc::clone(&self.signals));
        let name = match line {
            Line::Transactions => "aioproducer-caller",
            Line::Others => "aioproducer-metadata",
        };
        let partitioning = self.partitioning.clone();
        let make_calls = move || broker_calls::run(line, &client, &gate, &signals, &partitioning);
        let started = Builder::new().name(name.into()).spawn(make_calls);
        if started.is_err() {
            broker_calls::refuse(&self.gate, &self.signals);
        }
        started.ok()
    }

    /// Ends all other threads and the client, and has reported what they still hold. If anything of that takes too long, the
    /// last word is said by another thread, and this one goes on until it is done.
    fn end(self, workers: Vec<JoinHandle<()>>, callers: Vec<JoinHandle<()>>) {
        workers.into_iter().for_each(join);
        self.close_desk();
        broker_calls::refuse(&self.gate, &self.signals);
        self.say_farewell();
        callers.into_iter().for_each(join);
        let Self { client, gate, end, .. } = self;
        // All others who had it are gone.
        let Some(client) = Arc::into_inner(client) else { return };
        let (last, cells) = client.close();
        let driver = gate.shut();
        end.finish().into_iter().for_each(join);
        let lent = Arc::into_inner(cells).into_iter().flat_map(Cells::into_records);
        match driver {
            Some(driver) => tell_last(&*driver, last, lent),
            None => {
                // Their callers have had copies, whose owners may panic when the last one goes.
                for thing in lent.map(|(_, record)| record).chain(last.into_iter().filter_map(|(_, record)| record)) {
                    catch_panic(|| drop(thing));
                }
                end::caught_up();
            }
        }
    }

    /// What was left at the inline_worker to workers that are gone is handed off; if the last word was said, it has its outcome.
    fn close_desk(&self) {
        self.inline_worker.close(self.gate.open().as_deref());
    }

    /// Has librdkafka report what it still holds.
    fn say_farewell(&self) {
        for _ in 0..FAREWELL_ROUNDS {
            self.client.purge(true, true);
            let empty = self.client.flush(ROUND_MS);
            let Some(driver) = self.gate.open() else { return };
            self.reader.finish(&self.client, &*driver);
            if empty {
                return;
            }
        }
    }
}

/// What the client reported to the last, then the lent records that it dropped without a report, then the last word.
fn tell_last<R: Message>(driver: &impl Driver<R>, last: LastReports<R>, lent: impl Iterator<Item = (SlotId, R)>) {
    let mut delivered = Vec::new();
    let reports: Vec<_> = last
        .into_iter()
        .filter_map(|(report, mut record)| {
            let report = reports::last(report, &mut record);
            delivered.extend(record);
            report
        })
        .collect();
    driver.release(&mut delivered);
    driver.report(reports.into_iter());
    driver.report(lent.map(dropped));
    driver.ended();
}
