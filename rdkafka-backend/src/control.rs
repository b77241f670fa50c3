//! The control thread: owns the client, starts the other threads, makes the calls that block, and ends it all.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use aioproducer_core::backend::{Backend, Exchange, Message, Outcome, Report};

use crate::calls;
use crate::desk::Desk;
use crate::failure;
use crate::ffi::Client;
use crate::reports::{self, Reader};
use crate::signals::Signals;
use crate::topics::Partitioning;
use crate::worker::{self, Worker};

/// Longest time that a call which waits for deliveries keeps other requests from being heard.
const ROUND_MS: i32 = 50;

/// How often librdkafka is given [`ROUND_MS`] to report what was purged, before it is destroyed.
const FAREWELL_ROUNDS: usize = 15;

/// How soon a flush looks again when librdkafka has nothing (more) to send.
const FLUSH_PAUSE: Duration = Duration::from_millis(10);

/// Starts all threads, or none, and opens a desk.
pub(crate) fn start<R: Message, E: Exchange<R>>(
    client: Client<R>,
    exchange: Arc<E>,
    signals: Arc<Signals>,
    workers: usize,
    partitioning: &Partitioning,
) -> io::Result<Arc<Desk<R>>> {
    let (started, outcome) = mpsc::channel();
    let client = Arc::new(client);
    let worker = || Worker::new(Arc::clone(&client), partitioning.clone());
    let desk = Arc::new(Desk::new(Worker::prompt(Arc::clone(&client), partitioning.clone())));
    let staff: Vec<_> = (0..workers).map(|_| worker()).collect();
    let at_desk = Arc::clone(&desk);
    let control = move || {
        let complete = {
            let crew = Crew {
                client: &client,
                exchange: &*exchange,
                signals: &signals,
                reader: &Reader::default(),
                desk: &at_desk,
            };
            thread::scope(|scope| match crew.start(scope, staff) {
                Ok(workers) => {
                    let _ = started.send(Ok(()));
                    let caller = crew.serve(scope);
                    at_desk.close(&*exchange);
                    crew.dismiss(workers.into_iter().chain(caller));
                    true
                }
                Err(error) => {
                    signals.shut_down();
                    at_desk.close(&*exchange);
                    let _ = started.send(Err(error));
                    false
                }
            })
        };
        // Workers and desk are gone, so this is the last reference.
        if let Some(client) = Arc::into_inner(client)
            && complete
        {
            end(client, &*exchange);
        }
    };
    let thread = Builder::new().name("aioproducer-control".into()).spawn(control)?;
    let started = outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread ended")));
    if let Err(error) = started {
        // Its panic, if that is what ended it, has been told already.
        let _ = thread.join();
        return Err(error);
    }
    Ok(desk)
}

/// Ends the client. What it reported to the last and the lent records that it dropped without a report are reported, then
/// comes the last word.
fn end<R: Message>(client: Client<R>, exchange: &impl Exchange<R>) {
    let (last, dropped) = client.close();
    exchange.report(last.into_iter().filter_map(reports::last));
    exchange
        .report(dropped.map(|(slot, record)| Report { slot, outcome: Outcome::Failed(failure::dropped(), record) }));
    exchange.ended();
}

/// What the threads share.
struct Crew<'a, R, E> {
    client: &'a Client<R>,
    exchange: &'a E,
    signals: &'a Signals,
    reader: &'a Reader<R>,
    desk: &'a Desk<R>,
}

impl<'a, R: Message, E: Exchange<R>> Crew<'a, R, E> {
    fn start<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'a>,
        workers: Vec<Worker<R>>,
    ) -> io::Result<Vec<ScopedJoinHandle<'scope, ()>>> {
        let Self { exchange, signals, reader, desk, .. } = *self;
        let start = |(number, worker)| {
            Builder::new()
                .name(format!("aioproducer-worker-{number}"))
                .spawn_scoped(scope, move || worker::run(worker, exchange, signals, reader, desk))
        };
        workers.into_iter().enumerate().map(start).collect()
    }

    /// Sees to requests until the backend is shut down. The caller is started for the first call.
    fn serve<'scope>(&self, scope: &'scope Scope<'scope, 'a>) -> Option<ScopedJoinHandle<'scope, ()>> {
        let mut patience = None;
        let mut caller = None;
        loop {
            let requests = self.signals.requests(patience);
            if requests.shut_down {
                return caller;
            }
            if requests.call && caller.is_none() {
                caller = self.start_caller(scope);
            }
            if requests.token {
                self.client.deliver_token();
            }
            if requests.purge_queued || requests.purge_in_flight {
                self.client.purge(requests.purge_queued, requests.purge_in_flight);
            }
            let flushing = (requests.flush || patience.is_some()) && self.exchange.flushing();
            patience = flushing.then_some(FLUSH_PAUSE);
            if flushing {
                self.client.flush(ROUND_MS);
            }
        }
    }

    fn start_caller<'scope>(&self, scope: &'scope Scope<'scope, 'a>) -> Option<ScopedJoinHandle<'scope, ()>> {
        let Self { client, exchange, signals, .. } = *self;
        let make_calls = move || calls::run(client, exchange, signals);
        let started = Builder::new().name("aioproducer-caller".into()).spawn_scoped(scope, make_calls);
        if started.is_err() {
            calls::refuse(exchange, signals);
        }
        started.ok()
    }

    /// Ends all other threads, and has librdkafka report what it still holds.
    fn dismiss<'scope>(&self, threads: impl Iterator<Item = ScopedJoinHandle<'scope, ()>>) {
        for thread in threads {
            // One that panicked has nothing more to say; a worker's records are reported at the end.
            let _ = thread.join();
        }
        calls::refuse(self.exchange, self.signals);
        for _ in 0..FAREWELL_ROUNDS {
            self.client.purge(true, true);
            let empty = self.client.flush(ROUND_MS);
            self.reader.finish(self.client, self.exchange);
            if empty {
                break;
            }
        }
    }
}
