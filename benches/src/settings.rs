//! Settings, the same for everybody.

use rdkafka::ClientConfig;

/// The topic that is written to.
pub const TOPIC: &str = "figures";

/// Its partitions.
pub const PARTITIONS: i32 = 4;

/// Bytes of a key.
pub const KEY: usize = 16;

/// Names of the headers, and the bytes of each one's value.
pub const HEADERS: [&str; 2] = ["trace-id", "source"];
/// Bytes of a header's value.
pub const HEADER_VALUE: usize = 16;

/// Records of `size` bytes in flight at most in pipelined rows: 100,000 or 64 MiB.
#[must_use]
pub fn window(size: usize) -> usize {
    ((64 << 20) / size.max(1)).clamp(1, 100_000)
}

/// librdkafka's settings, without the brokers' addresses.
#[must_use]
pub fn settings(linger_ms: u32) -> Vec<(&'static str, String)> {
    vec![
        ("linger.ms", linger_ms.to_string()),
        ("enable.idempotence", "true".into()),
        ("queue.buffering.max.messages", "1000000".into()),
        ("queue.buffering.max.kbytes", "2147483647".into()),
        // librdkafka's default, and half of it passes before the first record goes: the window is full once before anything is
        // measured, so memory for all of it is there. With this project's own 20 ms the window fills later, at times.
        ("reconnect.backoff.ms", "100".into()),
    ]
}

/// The settings for a client of the Rust bindings.
#[must_use]
pub fn config(servers: &str, linger_ms: u32) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    for (key, value) in settings(linger_ms) {
        config.set(key, value);
    }
    config
}
