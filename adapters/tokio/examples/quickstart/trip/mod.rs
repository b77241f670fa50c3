//! The way of a text to Kafka and back, on any runtime.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) use self::arguments::Arguments;
use self::comparison::Comparison;
use self::place::Place;
use self::send::Sent;
use self::text::Text;
use crate::aio::{AioProducer, Librdkafka};

mod arguments;
mod comparison;
mod place;
mod send;
mod text;

/// How long the producer may take to close.
pub(crate) const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// A text and the topic it goes to.
pub(crate) struct Trip {
    text: Text,
    place: Place,
    in_flight: usize,
}

impl Trip {
    /// Reads the text, finds the broker and sees that the topic is there. Blocks.
    pub(crate) fn prepare(arguments: Arguments) -> anyhow::Result<Self> {
        let text = Text::read(arguments.input)?;
        let place = Place::prepare(arguments.topic, arguments.partitions, &text)?;
        println!(
            "{}: {} lines, {} bytes; to topic {} of {}, {} partitions",
            text.name,
            HumanCount(text.lines.len() as u64),
            HumanCount(text.bytes() as u64),
            place.topic,
            place.bootstrap,
            place.starts.len(),
        );
        Ok(Self { text, place, in_flight: arguments.in_flight.get() })
    }

    /// Records that may be on their way at once.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn backend(&self) -> Librdkafka {
        Librdkafka::new(self.place.config())
    }

    /// Sends every line, and tells where each one is in the log.
    pub(crate) async fn send(&self, producer: &AioProducer) -> anyhow::Result<Sent> {
        send::send(producer, &self.text, &self.place, self.in_flight).await
    }

    /// Reads the topic from where it ended before the trip, compares and prints. Blocks.
    pub(crate) fn read_back(&self, sent: &Sent) -> anyhow::Result<()> {
        sent.print();
        let mut comparison = Comparison::new(&self.text, sent, self.place.starts.len());
        let ranges = self.place.read(|record| comparison.add(record))?;

        println!("\n{:>9}  {:>21}  {:>11}", "partition", "offsets", "records");
        for (partition, range) in ranges.iter().enumerate() {
            let offsets = format!("{}..{}", range.start, range.end);
            let records = HumanCount(comparison.read(partition)).to_string();
            println!("{partition:>9}  {offsets:>21}  {records:>11}");
        }
        println!();

        let problems = comparison.finish();
        if problems.count > 0 {
            bail!("what was read is not what was sent:\n{problems}");
        }
        println!("read back {} lines: each exactly once, in order", HumanCount(self.text.lines.len() as u64));
        Ok(())
    }
}

/// 0 or 1, and on standard error what went wrong.
pub(crate) fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A bar that is silent unless somebody watches.
fn progress_bar(name: &'static str, length: usize) -> ProgressBar {
    let target = if stdout().is_terminal() { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target).with_message(name);
    match ProgressStyle::with_template("{msg:>8} {wide_bar} {human_pos}/{human_len} {per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
