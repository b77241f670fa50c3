//! What one record waits for: the first one of a producer that has just started, one after `ready`, one that lingers, and
//! those of many tasks that each await their own.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin one_record [-- --check]
//! ```
//!
//! The broker is librdkafka's mock cluster in a process of its own, or the one that `AIOPRODUCER_BOOTSTRAP` names. With
//! `--check` the exit code is 1 if a median is above its goal, with `ONE_RECORD_SLACK` (default 1) times as much time.

use std::time::{Duration, Instant};

use aioproducer_benches::broker::{self, Broker, Failure};
use aioproducer_benches::settings::TOPIC;
use aioproducer_tokio::{AioProducer, Builder, ClientConfig, Librdkafka, Record, Tokio};

const STARTS: usize = 20;
const TASKS: usize = 1_000;
const RECORDS: usize = 100;
const LINGER: Duration = Duration::from_millis(100);
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    if broker::is_wanted() {
        return broker::serve();
    }
    let check = std::env::args().any(|argument| argument == "--check");
    let slack: f64 = std::env::var("ONE_RECORD_SLACK").map_or(Ok(1.0), |slack| slack.parse())?;
    let broker = Broker::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let missed = runtime.block_on(measure(broker.servers(), slack))?;
    if check && missed > 0 {
        return Err(format!("{missed} goals were missed").into());
    }
    Ok(())
}

/// Measures and prints; how many goals were missed.
async fn measure(servers: &str, slack: f64) -> Result<usize, Failure> {
    let mut missed = 0;
    let mut row = |name: &str, mut times: Vec<Duration>, goal: u64| {
        times.sort();
        let (median, goal) = (times[times.len() / 2], Duration::from_millis(goal).mul_f64(slack));
        let verdict = if median <= goal { "met" } else { "missed" };
        missed += usize::from(median > goal);
        println!("{name:<58} {median:>10.2?} (to {:>9.2?}); goal {goal:?}: {verdict}", times[times.len() - 1]);
    };
    for idempotence in ["true", "false"] {
        let config = config(servers, &[("enable.idempotence", idempotence)]);
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let producer = start(&config, |builder| builder)?;
            times.push(send(&producer).await?);
            producer.close(CLOSE_WITHIN).await;
        }
        row(&format!("first delivery after start, idempotence {idempotence}"), times, 30);
    }
    let (mut ready, mut after) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let producer = start(&config(servers, &[]), |builder| builder)?;
        let begin = Instant::now();
        producer.ready([TOPIC]).await?;
        ready.push(begin.elapsed());
        after.push(send(&producer).await?);
        producer.close(CLOSE_WITHIN).await;
    }
    row("ready after start", ready, 100);
    row("send after ready", after, 5);

    let lingering = |pairs: &[(&str, &str)], linger: Duration, wait: bool| {
        start(&config(servers, pairs), |builder| builder.linger(linger).send_lingers(wait))
    };
    let in_librdkafka = lingering(&[("linger.ms", "100")], Duration::ZERO, true)?;
    let here = lingering(&[], LINGER, true)?;
    for (name, producer) in [("linger.ms 100", in_librdkafka), ("linger 100 ms", here)] {
        producer.ready([TOPIC]).await?;
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(send(&producer).await?);
        }
        producer.close(CLOSE_WITHIN).await;
        row(&format!("send that lingers, {name}"), times, 130);
    }

    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..=5 {
        let mut pair = [0.0; 2];
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let producer = lingering(&[], Duration::from_millis(5 * side as u64), false)?;
            pair[side] = tasks(&producer).await?;
            producer.close(CLOSE_WITHIN).await;
        }
        if round > 0 {
            ratios.push(pair[1] / pair[0]);
            pair.into_iter().zip(&mut rates).for_each(|(rate, rates)| rates.push(rate));
        }
    }
    let [without, with] = rates.map(|mut rates| median(&mut rates));
    let ratio = median(&mut ratios);
    let goal = 0.9 / slack;
    let verdict = if ratio >= goal { "met" } else { "missed" };
    println!(
        "{TASKS} tasks that send: {without:.0}/s without linger, {with:.0}/s with 5 ms, {ratio:.2} times; goal {goal:.2}: {verdict}"
    );
    Ok(missed + usize::from(ratio < goal))
}

fn config(servers: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    config
}

fn start(
    config: &ClientConfig,
    set: impl FnOnce(Builder<Librdkafka>) -> Builder<Librdkafka>,
) -> Result<AioProducer, Failure> {
    Ok(set(AioProducer::builder(Librdkafka::new(config.clone()))).start(Tokio::current()?)?)
}

async fn send(producer: &AioProducer) -> Result<Duration, Failure> {
    let begin = Instant::now();
    producer.send(Record::to(TOPIC).payload("one record")).await?;
    Ok(begin.elapsed())
}

/// Records per second of tasks that each await their own record.
async fn tasks(producer: &AioProducer) -> Result<f64, Failure> {
    producer.ready([TOPIC]).await?;
    let begin = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for _ in 0..RECORDS {
                    producer.send(Record::to(TOPIC).payload("one of many")).await?;
                }
                Ok::<(), Failure>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok((TASKS * RECORDS) as f64 / begin.elapsed().as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
