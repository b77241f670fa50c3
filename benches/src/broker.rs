//! The broker: librdkafka's mock cluster in a process of its own, or the one that `AIOPRODUCER_BOOTSTRAP` names.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, io};

use aioproducer_rdkafka::EmbeddedBroker;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::cluster::Figures;
use crate::settings::{PARTITIONS, TOPIC};

/// Anything that went wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The argument that makes a program of this package the broker's process.
const SERVE: &str = "--serve-broker";

/// Whether this process was started to be the broker; then it is to [`serve`].
#[must_use]
pub fn is_wanted() -> bool {
    env::args().nth(1).as_deref() == Some(SERVE)
}

/// A running cluster.
pub struct Broker {
    servers: String,
    process: Option<(Child, ChildStdin, BufReader<ChildStdout>)>,
    /// The topic, on a real cluster.
    _figures: Option<Figures>,
}

impl Broker {
    /// Starts the calling program again, to be the broker, unless a cluster is named in the environment. There the topic is
    /// made, and deleted in the end, unless it exists.
    ///
    /// # Errors
    /// When the process does not start; when the cluster does not make the topic or has it with other partitions.
    pub fn start() -> Result<Self, Failure> {
        if let Ok(servers) = env::var("AIOPRODUCER_BOOTSTRAP") {
            let figures = Figures::on(&servers)?;
            return Ok(Self { servers, process: None, _figures: Some(figures) });
        }
        let mut command = Command::new(env::current_exe()?);
        let mut child = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the broker's process has no pipes".into());
        };
        let mut output = BufReader::new(output);
        let servers = answer(&mut output)?;
        Ok(Self { servers, process: Some((child, input, output)), _figures: None })
    }

    /// The value for `bootstrap.servers`.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Whether faults can be asked for: it is the mock cluster.
    #[must_use]
    pub fn is_mock(&self) -> bool {
        self.process.is_some()
    }

    /// Lets the broker serve, slowly or at once.
    ///
    /// # Errors
    /// When it is not the mock cluster.
    pub fn up(&mut self, delay: Duration) -> Result<(), Failure> {
        self.ask(&format!("up {}", delay.as_millis()))
    }

    /// Closes all connections and refuses new ones.
    ///
    /// # Errors
    /// When it is not the mock cluster.
    pub fn down(&mut self) -> Result<(), Failure> {
        self.ask("down")
    }

    fn ask(&mut self, command: &str) -> Result<(), Failure> {
        let Some((_, input, output)) = &mut self.process else { return Err("a real cluster takes no orders".into()) };
        writeln!(input, "{command}")?;
        match answer(output)?.as_str() {
            "ok" => Ok(()),
            other => Err(other.into()),
        }
    }

    /// How many records the topic's log has had so far, as the cluster itself says.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn confirmed(&self) -> Result<u64, Failure> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.servers).create()?;
        let mut records = 0;
        for partition in 0..PARTITIONS {
            let (_, high) = consumer.fetch_watermarks(TOPIC, partition, Duration::from_secs(30))?;
            records += u64::try_from(high)?;
        }
        Ok(records)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((mut child, input, _)) = self.process.take() {
            drop(input);
            drop(child.wait());
        }
    }
}

fn answer(output: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    if output.read_line(&mut line)? == 0 {
        return Err("the broker's process has ended".into());
    }
    Ok(line.trim().to_owned())
}

/// Is the broker until standard input ends.
///
/// # Errors
/// When the cluster does not start.
pub fn serve() -> Result<(), Failure> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic(TOPIC, PARTITIONS, 1)?;
    println!("{}", broker.bootstrap_servers());
    for line in io::stdin().lines() {
        let line = line?;
        let done = match line.split_once(' ').unwrap_or((&line, "0")) {
            ("up", delay) => {
                let delay = Duration::from_millis(delay.parse()?);
                broker.round_trip_time(-1, delay).and_then(|()| broker.broker_up(-1))
            }
            ("down", _) => broker.broker_down(-1),
            _ => return Err(format!("no such order: {line}").into()),
        };
        match done {
            Ok(()) => println!("ok"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
