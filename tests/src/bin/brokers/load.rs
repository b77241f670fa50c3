//! The load: tasks that produce at a rate, and a task for each record that awaits its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aioproducer_driver::{AioProducer, Delivery, ProduceError, Record};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::keys::{Keys, Kind};
use crate::note::{End, Micros, Note, Recorder, SECOND};
use crate::options::{CallKind, Options};
use crate::target::TOPIC;

/// How often a task looks whether records are due.
const TICK: Duration = Duration::from_millis(1);

/// The calls that a task makes up for after it waited: those of so much time. It does not make up for more.
const MADE_UP: Micros = SECOND / 2;

/// The tasks.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(options: &Options, producer: &AioProducer, recorder: &Arc<Recorder>, keys: Keys) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..options.tasks).map(|task| {
            let caller = Caller {
                producer: producer.clone(),
                recorder: Arc::clone(recorder),
                stop: Arc::clone(&stop),
                kinds: keys.of_task(task, options.tasks),
                call: options.call,
                payload: options.payload,
                rate: options.rate as f64 / options.tasks as f64,
                most: options.slots as u64 + UNREAD,
            };
            tokio::spawn(caller.run())
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// Stops the calls, and waits for those that have begun. False if one does not return.
    pub(crate) async fn stop(self, limit: Duration) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        let all = async {
            for task in self.tasks {
                task.await.expect("a task of the load panicked");
            }
        };
        timeout(limit, all).await.is_ok()
    }
}

/// Outcomes that may be there and not noted yet: a task that produces without a pause leaves the others behind.
const UNREAD: u64 = 1_000;

struct Caller {
    producer: AioProducer,
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    kinds: Vec<Kind>,
    call: CallKind,
    payload: usize,
    /// Records per second; 0 is without a limit.
    rate: f64,
    /// Records without a noted outcome, at most.
    most: u64,
}

impl Caller {
    async fn run(self) {
        let mut due = 0.0;
        let mut before = self.recorder.now();
        let mut kinds = (0..self.kinds.len()).cycle();
        while !self.stop.load(Ordering::Relaxed) {
            if self.recorder.open() > self.most {
                sleep(TICK).await;
                continue;
            }
            if self.rate > 0.0 {
                let now = self.recorder.now();
                due += (now - before).min(MADE_UP) as f64 / SECOND as f64 * self.rate;
                before = now;
                if due < 1.0 {
                    sleep(TICK).await;
                    continue;
                }
                due -= 1.0;
            }
            let Some(kind) = kinds.next() else { break };
            self.produce(&self.kinds[kind]).await;
        }
    }

    async fn produce(&self, kind: &Kind) {
        let Kind { key, place, wanted, lane } = kind;
        let number = self.recorder.number();
        let mut payload = vec![b'.'; self.payload];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        let mut record = Record::to(TOPIC).payload(payload);
        if let Some(key) = key {
            record = record.key(key.as_str());
        }
        if let Some(place) = place {
            record = record.partition(*place);
        }
        let called = self.recorder.now();
        self.recorder.begin_call(*wanted);
        let accepted = match self.call {
            CallKind::Wait => self.producer.produce(record).await,
            CallKind::Try => self.producer.try_produce(record),
        };
        self.recorder.end_call(*wanted);
        let returned = self.recorder.now();
        let note = Note {
            number,
            lane: *lane,
            wanted: *wanted,
            end: End::Refused("unknown"),
            called,
            accepted: returned,
            ended: returned,
        };
        match accepted {
            Ok(delivery) => drop(tokio::spawn(outcome(delivery, note, Arc::clone(&self.recorder)))),
            Err(error) => {
                self.recorder.note(Note { end: End::Refused(name(&error)), ..note });
                // A full pool is full for a while.
                sleep(TICK).await;
            }
        }
    }
}

async fn outcome(delivery: Delivery, note: Note, recorder: Arc<Recorder>) {
    let end = match delivery.await {
        Ok(report) => End::Delivered { partition: report.partition(), offset: report.offset() },
        Err(error) => End::Failed(error.kind(), error.status()),
    };
    recorder.note(Note { end, ended: recorder.now(), ..note });
}

fn name(error: &ProduceError<'_>) -> &'static str {
    match error {
        ProduceError::Full(_) => "Full",
        ProduceError::PartitionFull { .. } => "PartitionFull",
        ProduceError::TimedOut(_) => "TimedOut",
        ProduceError::Closed(_) => "Closed",
        ProduceError::Fatal { .. } => "Fatal",
        _ => "other",
    }
}
