//! Mistakes in `bootstrap.servers`.

use aioproducer_rdkafka::ClientConfig;

use super::table::{Chapter, mistake};

pub(crate) fn chapter() -> Chapter {
    Chapter {
        title: "Servers",
        source: include_str!("servers.rs"),
        mistakes: vec![
            mistake!(
                "No servers",
                Start,
                Configure(no_servers),
                names["`bootstrap.servers`"],
                tells["set it to `host:port`"],
            ),
            mistake!(
                "A URL",
                Start,
                Configure(a_url),
                names ["`bootstrap.servers`", "`http://localhost:9092`"],
                tells ["write `localhost:9092`"],
            ),
            mistake!(
                "A scheme that Kafka does not have, in the second entry",
                Start,
                Configure(a_scheme),
                names ["`bootstrap.servers`", "`kafka://b:9092`"],
                tells ["write `b:9092`"],
            ),
            mistake!(
                "A protocol that is not the configured one",
                Start,
                Configure(another_protocol),
                names ["`bootstrap.servers`", "`SSL://localhost:9093`"],
                tells ["set `security.protocol=ssl`"],
            ),
            mistake!(
                "A login in the address",
                Start,
                Configure(a_login),
                names ["`bootstrap.servers`", "`***@localhost:9092`"],
                tells ["`sasl.username` and `sasl.password`"],
            ),
            mistake!(
                "Quotes, as a shell or a YAML file leaves them",
                Start,
                Configure(quotes),
                names ["`bootstrap.servers`", "`\"localhost:9092\"`"],
                tells ["leave out the quotes: `localhost:9092`"],
            ),
            mistake!(
                "An entry that is empty",
                Start,
                Configure(an_empty_entry),
                names ["`bootstrap.servers`", "entry number 2"],
                tells ["a comma only between two"],
            ),
            mistake!(
                "A port that there is not",
                Start,
                Configure(a_large_port),
                names ["`bootstrap.servers`", "`99999` is not a port"],
                tells ["from 1 to 65535"],
            ),
            mistake!(
                "A port that is missing",
                Start,
                Configure(no_port),
                names ["`bootstrap.servers`", "`localhost:`"],
                tells ["such as `localhost:9092`"],
            ),
            mistake!(
                "A path after the port",
                Start,
                Configure(a_path),
                names ["`bootstrap.servers`", "`9092/kafka` is not a port"],
                tells ["such as `localhost:9092`"],
            ),
            mistake!(
                "A host that is missing",
                Start,
                Configure(no_host),
                names ["`bootstrap.servers`", "`:9092`"],
                tells ["write `localhost:9092`"],
            ),
            mistake!(
                "A placeholder that was not filled in",
                Start,
                Configure(a_placeholder),
                names ["`bootstrap.servers`", "`${KAFKA}:9092`"],
                tells ["write `host:port`"],
            ),
            mistake!(
                "Semicolons between servers",
                Start,
                Configure(semicolons),
                names ["`bootstrap.servers`", "`a:9092;b:9092`"],
                tells ["use a port from 1 to 65535"],
            ),
            mistake!(
                "Blanks between servers",
                Start,
                Configure(blanks),
                names ["`bootstrap.servers`", "`a b`"],
                tells ["a comma between two"],
            ),
            mistake!(
                "An IPv6 address without brackets",
                Start,
                Configure(bare_ipv6),
                names ["`bootstrap.servers`", "`::1`"],
                tells ["write `[::1]:9092`"],
            ),
            mistake!(
                "A broker that is not there",
                Delivery,
                Configure(no_broker_there),
                names["0 of 1 brokers reachable", "127.0.0.1:1/"],
                tells["Connection refused"],
            ),
            mistake!(
                "A host that has no address, here for a dot too many",
                Delivery,
                Configure(no_such_host),
                names["0 of 1 brokers reachable", "kafka..internal:9092"],
                tells["Failed to resolve"],
            ),
        ],
    }
}

fn no_servers(config: &mut ClientConfig) {
    config.remove("bootstrap.servers");
}

fn a_url(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "http://localhost:9092");
}

fn a_scheme(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "a:9092,kafka://b:9092");
}

fn another_protocol(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "SSL://localhost:9093");
}

fn a_login(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "me:hunter2@localhost:9092");
}

fn quotes(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "\"localhost:9092\"");
}

fn an_empty_entry(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "a:9092,,b:9092");
}

fn a_large_port(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "localhost:99999");
}

fn no_port(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "localhost:");
}

fn a_path(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "localhost:9092/kafka");
}

fn no_host(config: &mut ClientConfig) {
    config.set("bootstrap.servers", ":9092");
}

fn a_placeholder(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "${KAFKA}:9092");
}

fn semicolons(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "a:9092;b:9092");
}

fn blanks(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "a b");
}

fn bare_ipv6(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "::1");
}

fn no_broker_there(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "127.0.0.1:1");
    config.set("delivery.timeout.ms", "1500");
}

fn no_such_host(config: &mut ClientConfig) {
    config.set("bootstrap.servers", "kafka..internal:9092");
    config.set("delivery.timeout.ms", "1500");
}
