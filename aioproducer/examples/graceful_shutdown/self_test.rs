//! The service as a child process, ended by a signal; and the log, read back.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use aioproducer::EmbeddedBroker;
use anyhow::{Context, bail, ensure};
use futures_lite::future::block_on;

const PARTITIONS: i32 = 4;

/// Records that the service has accepted when its end begins: more than it leaves undelivered, so some were written.
const LOAD: usize = 6_000;

/// No line of the service, and no record of the broker, takes that long; it is only reached when something hangs.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start()?;
    let unsent = ended(&broker, "calm", 30_000, false)?;
    ensure!(unsent == 0, "calm: {unsent} were unsent");
    // Everything may have been written in the very moment when the broker went.
    let mut round = 1;
    while ended(&broker, &format!("trouble-{round}"), 500, true)? == 0 {
        round += 1;
    }
    println!("self-test passed");
    Ok(())
}

/// What the service said of its records.
#[derive(Default)]
struct Said {
    accepted: BTreeSet<String>,
    /// Not in the log.
    not_persisted: BTreeSet<String>,
    /// In the log, or not.
    possibly_persisted: BTreeSet<String>,
    closed: Option<usize>,
}

/// Starts the service, ends it under load, and checks what it said against the log. With `trouble` the broker goes away
/// before the end. Returns how many records were unsent.
fn ended(broker: &EmbeddedBroker, topic: &str, close_within: u64, trouble: bool) -> anyhow::Result<usize> {
    broker.create_topic(topic, PARTITIONS, 1)?;
    let mut service = Service::start(broker, topic, close_within)?;
    let mut said = Said::default();
    while said.accepted.len() < LOAD {
        let line = service.line()?.context("the service ended by itself")?;
        said.hear(&line)?;
    }
    if trouble {
        broker.broker_down(-1)?;
    }
    service.terminate()?;
    while let Some(line) = service.line()? {
        said.hear(&line)?;
    }
    let status = service.child.wait()?;
    ensure!(status.success(), "{topic}: the service exited with {status}");
    if trouble {
        broker.broker_up(-1)?;
    }
    check(topic, &said, &read(broker, topic)?, trouble)
}

/// Each accepted record is in the log, or was printed as unsent.
fn check(topic: &str, said: &Said, log: &[String], trouble: bool) -> anyhow::Result<usize> {
    let written: BTreeSet<_> = log.iter().cloned().collect();
    let unsent = said.not_persisted.len() + said.possibly_persisted.len();
    ensure!(said.closed == Some(unsent), "{topic}: {unsent} were printed as unsent, and closed with {:?}", said.closed);
    let reported = |id: &&String| {
        written.contains(*id) || said.not_persisted.contains(*id) || said.possibly_persisted.contains(*id)
    };
    let lost: Vec<_> = said.accepted.iter().filter(|id| !reported(id)).collect();
    ensure!(lost.is_empty(), "{topic}: accepted, neither written nor printed: {lost:?}");
    let wrong: Vec<_> = said.not_persisted.intersection(&written).collect();
    ensure!(wrong.is_empty(), "{topic}: printed as not persisted, and written: {wrong:?}");
    // A record may be written and sent again where its answer was lost with the connection; a broker would drop it.
    ensure!(
        trouble || written.len() == log.len(),
        "{topic}: {} records, {} of them different",
        log.len(),
        written.len()
    );
    println!("{topic}: {} accepted, {} written, {unsent} unsent", said.accepted.len(), written.len());
    Ok(unsent)
}

impl Said {
    fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["accepted", id] => ensure!(self.accepted.insert(id.to_owned()), "{id} was accepted twice"),
            ["unsent" | "failed", id, "NotPersisted"] => drop(self.not_persisted.insert(id.to_owned())),
            ["unsent" | "failed", id, "PossiblyPersisted"] => drop(self.possibly_persisted.insert(id.to_owned())),
            ["closed", count] => self.closed = Some(count.parse()?),
            _ => bail!("the service said {line:?}"),
        }
        Ok(())
    }
}

/// The service in a process of its own.
struct Service {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
}

impl Service {
    fn start(broker: &EmbeddedBroker, topic: &str, close_within: u64) -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--topic", topic, "--close-within", &close_within.to_string()])
            .env("AIOPRODUCER_BOOTSTRAP", broker.bootstrap_servers())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its output")?;
        let (sender, lines) = channel();
        thread::spawn(move || BufReader::new(output).lines().try_for_each(|line| sender.send(line)));
        Ok(Self { child, lines })
    }

    /// The next line; `None` at the end.
    fn line(&self) -> anyhow::Result<Option<String>> {
        use std::sync::mpsc::RecvTimeoutError;

        match self.lines.recv_timeout(WAIT_LIMIT) {
            Ok(line) => Ok(Some(line?)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the service says nothing and does not end"),
        }
    }

    fn terminate(&self) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill: {status}");
        Ok(())
    }
}

/// Nothing is left of it where a check failed.
impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All payloads in `topic`.
fn read(broker: &EmbeddedBroker, topic: &str) -> anyhow::Result<Vec<String>> {
    let records = block_on(broker.records(topic))?;
    Ok(records.iter().map(|record| record.payload_str().unwrap_or_default().to_owned()).collect())
}
