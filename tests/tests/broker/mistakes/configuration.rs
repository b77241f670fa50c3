//! Mistakes in other keys of a configuration.

use aioproducer_rdkafka::ClientConfig;

use super::table::{Chapter, mistake};

pub(crate) fn chapter() -> Chapter {
    Chapter {
        title: "Keys and values",
        source: include_str!("configuration.rs"),
        mistakes: vec![
            mistake!(
                "A unit after a number of bytes",
                Start,
                Configure(bytes_with_a_unit),
                names ["`batch.size`", "`1MB`"],
                tells ["write bytes: `1000000`"],
            ),
            mistake!(
                "A unit after a time",
                Start,
                Configure(a_time_with_a_unit),
                names ["`linger.ms`", "`5s`"],
                tells ["write milliseconds: `5000`"],
            ),
            mistake!(
                "A fraction with a comma",
                Start,
                Configure(a_comma),
                names ["`linger.ms`", "`0,5`"],
                tells ["write milliseconds"],
            ),
            mistake!(
                "A power of ten",
                Start,
                Configure(a_power_of_ten),
                names ["`message.max.bytes`", "`1e6`"],
                tells ["write bytes: `1000000`"],
            ),
            mistake!(
                "A number of more than 32 bits",
                Start,
                Configure(a_large_number),
                names ["`batch.size`", "`4294967297`"],
                tells ["write bytes"],
            ),
            mistake!(
                "A number out of its range",
                Start,
                Configure(out_of_range),
                names ["`retries`", "`-1`"],
                tells ["0 to 2147483647"],
            ),
            mistake!(
                "A word for a number",
                Start,
                Configure(a_word_for_a_number),
                names ["`delivery.timeout.ms`", "`never`"],
                tells ["write milliseconds"],
            ),
            mistake!(
                "`acks` that there are not",
                Start,
                Configure(other_acks),
                names ["`acks`", "`most`"],
                tells ["write `all`, `0` or `1`"],
            ),
            mistake!(
                "Yes and no",
                Start,
                Configure(yes),
                names ["`enable.idempotence`", "`yes`"],
                tells ["`true` nor `false`"],
            ),
            mistake!(
                "A choice that there is not",
                Start,
                Configure(another_codec),
                names ["`compression.type`", "`zip`"],
                tells ["none, gzip, snappy, lz4, zstd"],
            ),
            mistake!(
                "A partitioner that there is not",
                Start,
                Configure(another_partitioner),
                names ["`partitioner`", "nearest"],
                tells ["murmur2_random"],
            ),
            mistake!(
                "A unit after Java's time for partitions",
                Start,
                Configure(an_availability_timeout),
                names ["`partitioner.availability.timeout.ms`", "`1s`"],
                tells ["write milliseconds: `1000`"],
            ),
            mistake!("A key of a consumer", Start, Configure(a_group), names["`group.id`"], tells["leave it out"],),
            mistake!(
                "Another key of a consumer",
                Start,
                Configure(an_offset_reset),
                names["`auto.offset.reset`"],
                tells["leave it out"],
            ),
            mistake!(
                "A key with a letter missing",
                Start,
                Configure(a_misspelled_key),
                names["`compresion.type`"],
                tells["did you mean `compression.type`?"],
            ),
            mistake!(
                "A key with underscores",
                Start,
                Configure(underscores),
                names["`bootstrap_servers`"],
                tells["did you mean `bootstrap.servers`?"],
            ),
            mistake!(
                "A key that there is not",
                Start,
                Configure(an_unknown_key),
                names["`no.such.key`"],
                tells["CONFIGURATION.md"],
            ),
            mistake!(
                "Java's memory for records",
                Start,
                Configure(java_memory),
                names["`buffer.memory`"],
                tells["the builder's `pool_bytes`"],
            ),
            mistake!(
                "Java's time for a full buffer",
                Start,
                Configure(java_block),
                names["`max.block.ms`"],
                tells["`Overflow::WaitFor`"],
            ),
            mistake!(
                "Java's size of a request",
                Start,
                Configure(java_request),
                names["`max.request.size`"],
                tells["`message.max.bytes`"],
            ),
            mistake!(
                "Java's serializers",
                Start,
                Configure(java_serializer),
                names["`key.serializer`"],
                tells["`Record::key`"],
            ),
            mistake!(
                "Java's trust store",
                Start,
                Configure(java_trust_store),
                names["`ssl.truststore.location`"],
                tells["use `ssl.ca.location`"],
            ),
            mistake!(
                "A setting of the builder as a key",
                Start,
                Configure(a_builders_setting),
                names["`pool_bytes`"],
                tells["the builder's `pool_bytes`"],
            ),
            mistake!(
                "TLS without the feature",
                Start,
                Configure(tls),
                names["`security.protocol`"],
                tells["enable the feature `ssl`"],
            ),
            mistake!(
                "A certificate without the feature",
                Start,
                Configure(a_certificate),
                names["`ssl.ca.location`"],
                tells["enable the feature `ssl`"],
            ),
            mistake!(
                "Zstandard without the feature",
                Start,
                Configure(zstandard),
                names["`compression.type`"],
                tells["enable the feature `zstd`"],
            ),
            mistake!(
                "SCRAM without the feature",
                Start,
                Configure(scram),
                names["`sasl.mechanisms`"],
                tells["enable the feature `ssl`"],
            ),
            mistake!(
                "SASL without a mechanism",
                Start,
                Configure(no_mechanism),
                names ["`sasl.mechanisms`", "GSSAPI"],
                tells ["set PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"],
            ),
            mistake!(
                "A mechanism that there is not",
                Start,
                Configure(another_mechanism),
                names ["`sasl.mechanisms`", "`SCRAM`"],
                tells ["SCRAM-SHA-256"],
            ),
            mistake!(
                "Idempotence with a value that excludes it",
                Start,
                Configure(idempotence),
                names ["`acks`", "`enable.idempotence`"],
                tells ["requires `all`"],
            ),
            mistake!(
                "Strict idempotence with several requests in flight",
                Start,
                Configure(strict),
                names ["`max.in.flight.requests.per.connection`", "`enable.strict.idempotence`"],
                tells ["requires 1"],
            ),
            mistake!(
                "Transactions with a value that excludes them",
                Start,
                Configure(transactions),
                names ["`max.in.flight`", "`transactional.id`"],
                tells ["require at most 5"],
            ),
            mistake!(
                "Two names of one setting",
                Start,
                Configure(two_names),
                names ["`request.required.acks`", "`acks`"],
                tells ["leave one of them out"],
            ),
            mistake!(
                "Reports of failures only",
                Start,
                Configure(failures_only),
                names["`delivery.report.only.error`"],
                tells["leave it out"],
            ),
        ],
    }
}

fn bytes_with_a_unit(config: &mut ClientConfig) {
    config.set("batch.size", "1MB");
}

fn a_time_with_a_unit(config: &mut ClientConfig) {
    config.set("linger.ms", "5s");
}

fn a_comma(config: &mut ClientConfig) {
    config.set("linger.ms", "0,5");
}

fn a_power_of_ten(config: &mut ClientConfig) {
    config.set("message.max.bytes", "1e6");
}

fn a_large_number(config: &mut ClientConfig) {
    config.set("batch.size", "4294967297");
}

fn out_of_range(config: &mut ClientConfig) {
    config.set("retries", "-1");
}

fn a_word_for_a_number(config: &mut ClientConfig) {
    config.set("delivery.timeout.ms", "never");
}

fn other_acks(config: &mut ClientConfig) {
    config.set("acks", "most");
}

fn yes(config: &mut ClientConfig) {
    config.set("enable.idempotence", "yes");
}

fn another_codec(config: &mut ClientConfig) {
    config.set("compression.type", "zip");
}

fn another_partitioner(config: &mut ClientConfig) {
    config.set("partitioner", "nearest");
}

fn an_availability_timeout(config: &mut ClientConfig) {
    config.set("partitioner.availability.timeout.ms", "1s");
}

fn a_group(config: &mut ClientConfig) {
    config.set("group.id", "billing");
}

fn an_offset_reset(config: &mut ClientConfig) {
    config.set("auto.offset.reset", "earliest");
}

fn a_misspelled_key(config: &mut ClientConfig) {
    config.set("compresion.type", "lz4");
}

fn underscores(config: &mut ClientConfig) {
    config.set("bootstrap_servers", "localhost:9092");
}

fn an_unknown_key(config: &mut ClientConfig) {
    config.set("no.such.key", "1");
}

fn java_memory(config: &mut ClientConfig) {
    config.set("buffer.memory", "33554432");
}

fn java_block(config: &mut ClientConfig) {
    config.set("max.block.ms", "60000");
}

fn java_request(config: &mut ClientConfig) {
    config.set("max.request.size", "1048576");
}

fn java_serializer(config: &mut ClientConfig) {
    config.set("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
}

fn java_trust_store(config: &mut ClientConfig) {
    config.set("ssl.truststore.location", "/etc/kafka/trust.jks");
}

fn a_builders_setting(config: &mut ClientConfig) {
    config.set("pool_bytes", "33554432");
}

fn tls(config: &mut ClientConfig) {
    config.set("security.protocol", "ssl");
}

fn a_certificate(config: &mut ClientConfig) {
    config.set("ssl.ca.location", "/etc/kafka/ca.pem");
}

fn zstandard(config: &mut ClientConfig) {
    config.set("compression.type", "zstd");
}

fn scram(config: &mut ClientConfig) {
    config.set("security.protocol", "sasl_plaintext").set("sasl.mechanisms", "SCRAM-SHA-512");
}

fn no_mechanism(config: &mut ClientConfig) {
    config.set("security.protocol", "sasl_plaintext").set("sasl.username", "me").set("sasl.password", "hunter2");
}

fn another_mechanism(config: &mut ClientConfig) {
    config.set("security.protocol", "sasl_plaintext").set("sasl.mechanisms", "SCRAM");
}

fn idempotence(config: &mut ClientConfig) {
    config.set("enable.idempotence", "true").set("acks", "1");
}

fn strict(config: &mut ClientConfig) {
    config.set("enable.strict.idempotence", "true").set("max.in.flight.requests.per.connection", "5");
}

fn transactions(config: &mut ClientConfig) {
    config.set("transactional.id", "billing-1").set("max.in.flight", "10");
}

fn two_names(config: &mut ClientConfig) {
    config.set("acks", "all").set("request.required.acks", "1");
}

fn failures_only(config: &mut ClientConfig) {
    config.set("delivery.report.only.error", "true");
}
