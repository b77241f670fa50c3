//! Mistakes in the builders' settings.

use std::time::Duration;

use aioproducer_driver::{AioProducer, Builder};
use aioproducer_rdkafka::{ClientConfig, Librdkafka};

use super::table::{Chapter, mistake};

pub(crate) fn chapter() -> Chapter {
    Chapter {
        title: "Builders",
        source: include_str!("builder.rs"),
        mistakes: vec![
            mistake!(
                "No time to deliver",
                Start,
                Build(no_time),
                names["delivery_timeout"],
                tells["set more, or leave it out"],
            ),
            mistake!(
                "Two lingers",
                Start,
                Build(two_lingers),
                names ["linger", "100ms", "50ms", "`linger.ms`"],
                tells ["set one of them"],
            ),
            mistake!(
                "A linger that is longer than the delivery timeout",
                Start,
                Build(a_long_linger),
                names ["linger", "10s", "5s"],
                tells ["lower the one or raise the other"],
            ),
            mistake!(
                "The same by keys",
                Start,
                Build(a_long_linger_by_keys),
                names ["`linger.ms`", "10s", "5s"],
                tells ["lower the one or raise the other"],
            ),
            mistake!("No workers", Start, Build(no_workers), names["`workers` is 0"], tells["at least one"]),
            mistake!("No slots", Start, Build(no_slots), names["slots"], tells["at least 1"]),
            mistake!(
                "A batch that is larger than the pool",
                Start,
                Build(a_large_batch),
                names ["batch_records", "2000", "1000"],
                tells ["lower it, or raise slots"],
            ),
            mistake!(
                "A pool that the largest record does not fit in",
                Start,
                Build(a_small_pool),
                names ["pool_bytes", "100000", "1000000"],
                tells ["raise it, or lower that"],
            ),
        ],
    }
}

fn no_time(config: ClientConfig) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config)).delivery_timeout(Duration::ZERO)
}

fn two_lingers(mut config: ClientConfig) -> Builder<Librdkafka> {
    config.set("linger.ms", "50");
    AioProducer::builder(Librdkafka::new(config)).linger(Duration::from_millis(100))
}

fn a_long_linger(config: ClientConfig) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config))
        .linger(Duration::from_secs(10))
        .delivery_timeout(Duration::from_secs(5))
}

fn a_long_linger_by_keys(mut config: ClientConfig) -> Builder<Librdkafka> {
    config.set("linger.ms", "10000").set("delivery.timeout.ms", "5000");
    AioProducer::builder(Librdkafka::new(config))
}

fn no_workers(config: ClientConfig) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config).workers(0))
}

fn no_slots(config: ClientConfig) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config)).slots(0)
}

fn a_large_batch(config: ClientConfig) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config)).slots(1_000).batch_records(2_000)
}

fn a_small_pool(config: ClientConfig) -> Builder<Librdkafka> {
    AioProducer::builder(Librdkafka::new(config)).pool_bytes(100_000)
}
