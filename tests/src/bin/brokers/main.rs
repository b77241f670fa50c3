//! A load on three brokers, one of which is hurt, and what that does to the others.
//!
//! It starts the cluster, writes to a topic of six partitions, two on each broker, prints a row for each second, reads the log
//! back and compares it with what the producer said.
//!
//! ```sh
//! checks/kafka/three.sh stop --fault 60 --check
//! checks/kafka/three.sh --help
//! ```

mod history;
mod judge;
mod keys;
mod load;
mod log;
mod note;
mod options;
mod rows;
mod run;
mod seconds;
mod summary;
mod target;
mod timeline;

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{Librdkafka, OnFatal, OnStall};
use aioproducer_tokio::Tokio;
use clap::Parser;

use crate::keys::Keys;
use crate::load::Load;
use crate::log::Written;
use crate::note::{Note, Recorder};
use crate::options::Options;
use crate::rows::Rows;
use crate::run::Run;
use crate::target::{PARTITIONS, PROBE_TOPIC, TOPIC, Target};
use crate::timeline::Timeline;

/// How long outcomes that are there may take to be noted.
const NOTED: Duration = Duration::from_secs(2);

type Failure = Box<dyn Error + Send + Sync>;

/// How much longer than its delivery timeout a record may take to end before the load is given up.
const LATE: Duration = Duration::from_secs(30);

fn main() -> Result<ExitCode, Failure> {
    let options = Options::parse();
    options.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let target = Arc::new(Target::start(&options)?);
    let complaints = runtime.block_on(run(&options, &target))?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    for complaint in &complaints {
        println!("NOT AS PROMISED: {complaint}");
    }
    let is_bad = options.check && !complaints.is_empty();
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is not as it is promised.
async fn run(options: &Options, target: &Arc<Target>) -> Result<Vec<String>, Failure> {
    let keys = Keys::choose(options, target).await?;
    let mut backend = target.config();
    for (key, value) in &options.set {
        backend.set(key, value);
    }
    let mut backend = Librdkafka::new(backend);
    if let Some(after) = options.renew {
        // Each renewal is a line on standard error.
        backend = backend.on_fatal(OnFatal::Renew).on_stall(OnStall::Renew { after });
    }
    let mut builder = AioProducer::builder(backend).slots(options.slots);
    if let Some(timeout) = options.timeout {
        builder = builder.delivery_timeout(timeout);
    }
    let producer = builder.start(Tokio::current()?)?;
    producer.ready([TOPIC]).await?;
    // Each broker is connected, and has let the producer be idempotent.
    for partition in 0..PARTITIONS {
        producer.send(Record::to(PROBE_TOPIC).partition(partition)).await?;
    }

    let recorder = Arc::new(Recorder::new());
    let timeline = Arc::new(Timeline::new(options));
    let rows = Rows::start(&recorder, &timeline);
    let load = Load::start(options, &producer, &recorder, keys);
    let faults = timeline.run(options, target, &recorder).await;
    let end = recorder.now();
    let is_over = load.stop(options.delivery_timeout() + LATE).await;
    let closed = producer.close(options.delivery_timeout() + LATE).await;
    // The tasks that await the last outcomes have a moment to note them.
    let begin = Instant::now();
    while recorder.open() > 0 && begin.elapsed() < NOTED {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let notes = rows.stop();
    if !is_over || !closed.is_complete() {
        let (unsent, unreturned) = (closed.unsent().len(), closed.unreturned());
        println!("the load did not end by itself: close gave back {unsent} records, and not {unreturned} others");
    }
    let (read, partitions) = (Arc::clone(target), options.partitions());
    let log = tokio::task::spawn_blocking(move || log::read(&read.servers(), partitions)).await??;
    if let Some(file) = &options.records {
        write(file, &notes, &log.records)?;
    }
    let verdict = history::verdict(options, &notes, recorder.calls(), &log.into());
    let run = Run { options, notes: &notes, faults: &faults, end, verdict: &verdict };
    summary::print(&run);
    Ok(judge::complaints(&run))
}

/// Writes a line for each record: what was said of it, and its offsets in the log.
fn write(file: &Path, notes: &[Note], log: &[Written]) -> Result<(), Failure> {
    let mut places = HashMap::<u64, Vec<String>>::new();
    for written in log {
        places.entry(written.number).or_default().push(format!("{}@{}", written.partition, written.offset));
    }
    let mut file = BufWriter::new(File::create(file)?);
    writeln!(file, "number,lane,partition,end,called_us,accepted_us,ended_us,in_the_log")?;
    for note in notes {
        let lane = note.lane.map(|lane| lane.to_string()).unwrap_or_default();
        let Note { number, called, accepted, ended, .. } = note;
        let end = note.failure().unwrap_or_else(|| "delivered".into());
        let places = places.get(number).map(|places| places.join(" ")).unwrap_or_default();
        writeln!(file, "{number},{lane},{},{end},{called},{accepted},{ended},{places}", note.partition())?;
    }
    Ok(file.flush()?)
}
