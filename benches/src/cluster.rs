//! The topic that is written to, on a real cluster.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::broker::Failure;
use crate::settings::{PARTITIONS, TOPIC};

/// How long the cluster may take for anything.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// The topic. One that was made is deleted in the end, for what is written there fills disks.
pub(crate) struct Figures {
    config: ClientConfig,
    made: bool,
}

impl Figures {
    /// Finds the topic, or makes it, and waits until it can be written to.
    pub(crate) fn on(servers: &str) -> Result<Self, Failure> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers);
        let consumer: BaseConsumer = config.create()?;
        let mut figures = Self { config, made: false };
        if leaders(&consumer)?.is_none() {
            figures.make()?;
        }
        let begin = Instant::now();
        while begin.elapsed() < WAIT_LIMIT {
            match leaders(&consumer)? {
                Some(leaders) if leaders.contains(&-1) => {}
                Some(leaders) if leaders.len() == PARTITIONS as usize => return Ok(figures),
                Some(leaders) => {
                    let count = leaders.len();
                    return Err(format!("topic {TOPIC} has {count} partitions, and {PARTITIONS} are expected").into());
                }
                None => {}
            }
            // Nothing is assigned: it keeps the client going for a moment.
            drop(consumer.poll(Duration::from_millis(50)));
        }
        Err(format!("topic {TOPIC}: not all partitions have a leader").into())
    }

    fn make(&mut self) -> Result<(), Failure> {
        // As many copies as the cluster makes by default.
        let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(-1));
        all_done(smol::block_on(self.admin()?.create_topics([&topic], &options()))?)?;
        self.made = true;
        Ok(())
    }

    fn delete(&self) -> Result<(), Failure> {
        all_done(smol::block_on(self.admin()?.delete_topics(&[TOPIC], &options()))?)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        Ok(self.config.create()?)
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = self.delete()
        {
            eprintln!("topic {TOPIC} was not deleted: {error}");
        }
    }
}

fn all_done(outcomes: Vec<TopicResult>) -> Result<(), Failure> {
    let failed = outcomes.into_iter().find_map(Result::err);
    failed.map_or(Ok(()), |(topic, code)| Err(format!("{topic}: {code}").into()))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WAIT_LIMIT))
}

/// The leaders of the topic's partitions, -1 for none; `None` if there is no such topic.
fn leaders(consumer: &BaseConsumer) -> Result<Option<Vec<i32>>, Failure> {
    let metadata = consumer.fetch_metadata(Some(TOPIC), WAIT_LIMIT)?;
    let topic = metadata.topics().iter().find(|topic| topic.error().is_none());
    Ok(topic.map(|topic| topic.partitions().iter().map(|partition| partition.leader()).collect()))
}
