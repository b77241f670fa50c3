//! Checks `bootstrap.servers` entry by entry. If librdkafka cannot parse the list, it uses the entries before the error and
//! mentions that in its log only.

use std::net::Ipv6Addr;

use rdkafka::config::{ClientConfig, NativeClientConfig};

use crate::config::error::ConfigError;
use crate::config::names;
use crate::config::read::{invalid, value};

pub(super) const SERVERS: &str = "bootstrap.servers";

/// The protocols that may precede `://`, in upper or lower case. The one used must be the `security.protocol`.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// librdkafka's default port.
const PORT: u16 = 9092;

/// Checks each server that `user` names.
pub(super) fn check(user: &ClientConfig, read: &NativeClientConfig) -> Result<(), ConfigError> {
    let protocol = value(read, "security.protocol").unwrap_or_default();
    for key in names::all(SERVERS) {
        let Some(servers) = user.get(key).filter(|servers| !servers.trim().is_empty()) else { continue };
        for (number, entry) in (1..).zip(servers.trim_start().split(',')) {
            check_entry(entry, &protocol).map_err(|fault| match entry.trim() {
                "" => invalid(key, &format!("entry number {number} is empty; {fault}")),
                entry => invalid(key, &format!("`{}`: {fault}", without_login(entry))),
            })?;
        }
    }
    Ok(())
}

/// Checks one entry. The error says what is wrong and what to write instead.
fn check_entry(entry: &str, protocol: &str) -> Result<(), String> {
    // librdkafka skips blanks before an entry and ignores what follows the digits of a port.
    let entry = entry.trim_start_matches(' ');
    if entry.trim().is_empty() {
        return Err("write `host:port`, with a comma only between two entries".into());
    }
    if entry.contains(['"', '\'', '`']) {
        return Err(format!("leave out the quotes: `{}`", entry.trim().replace(['"', '\'', '`'], "")));
    }
    let address = match entry.split_once("://") {
        None => entry,
        Some((scheme, rest)) => {
            // librdkafka ignores the path of a URL.
            let address = rest.split('/').next().unwrap_or_default();
            if !PROTOCOLS.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
                let address = without_login(address.trim());
                return Err(format!(
                    "`{scheme}://` is not a protocol of Kafka; write `{address}` and set `security.protocol`"
                ));
            }
            if !scheme.eq_ignore_ascii_case(protocol) {
                let meant = scheme.to_ascii_lowercase();
                return Err(format!(
                    "the entry says {meant}, but `security.protocol` is {protocol}; set `security.protocol={meant}`, or \
                     write `{}`",
                    address.trim()
                ));
            }
            address
        }
    };
    check_address(address)
}

/// Checks `host`, `host:port` or `[IPv6]:port`.
fn check_address(address: &str) -> Result<(), String> {
    let trimmed = address.trim_end();
    if let Some((_, address)) = trimmed.rsplit_once('@') {
        return Err(format!(
            "credentials are not allowed here; write `{address}`, and set `sasl.username` and `sasl.password`"
        ));
    }
    if trimmed.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address needs brackets; write `[{trimmed}]:{PORT}`"));
    }
    if let Some(rest) = address.strip_prefix('[') {
        let Some((inside, port)) = rest.split_once(']') else {
            return Err("the bracket of an IPv6 address is not closed; write `[::1]:9092`".into());
        };
        let ip = inside.split('%').next().unwrap_or_default();
        if ip.parse::<Ipv6Addr>().is_err() {
            return Err(format!("`{inside}` is not an IPv6 address; write `host:port` without brackets"));
        }
        return match port.strip_prefix(':') {
            Some(port) => check_port(&address[..=inside.len() + 1], port),
            None if port.is_empty() => Ok(()),
            None => Err(format!("`{port}` follows the bracket; write `[{inside}]:{PORT}`")),
        };
    }
    let (host, port) = address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)));
    if host.is_empty() {
        return Err(format!("the host is missing; write `localhost{trimmed}` for this machine"));
    }
    if host.contains(char::is_whitespace) {
        return Err("a host name must not contain blanks; write `host:port`, with a comma between two entries".into());
    }
    if let Some(odd) = host.chars().find(|char| !char.is_alphanumeric() && !matches!(char, '.' | '-' | '_')) {
        return Err(format!(
            "a host name must not contain `{odd}`; write `host:port`, with a comma between two entries"
        ));
    }
    port.map_or(Ok(()), |port| check_port(host, port))
}

fn check_port(host: &str, port: &str) -> Result<(), String> {
    let digits = port.trim_end();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && digits.parse().is_ok_and(|port: u16| port > 0) {
        return Ok(());
    }
    let wrong =
        if digits.is_empty() { "no port follows the colon".into() } else { format!("`{digits}` is not a port") };
    Err(format!("{wrong}; use a port from 1 to 65535, such as `{host}:{PORT}`"))
}

/// `entry` without user and password, which a URL may contain.
fn without_login(entry: &str) -> String {
    let Some((login, rest)) = entry.rsplit_once('@') else { return entry.into() };
    login.split_once("://").map_or_else(|| format!("***@{rest}"), |(scheme, _)| format!("{scheme}://***@{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::native::native;

    fn error(servers: &str, protocol: &str) -> Option<String> {
        let mut config = ClientConfig::new();
        config.set(SERVERS, servers).set("security.protocol", protocol);
        check(&config, &native(&config).expect("a protocol")).err().map(|error| error.to_string())
    }

    #[test]
    fn s33_entries_that_librdkafka_parses_as_meant_are_accepted() {
        for servers in [
            "localhost",
            "localhost:9092",
            "127.0.0.1:1,b-2.kafka_x.example.com:65535",
            "a:1, b:2 ,c",
            " a:1",
            "a:9092\n",
            "[::1]",
            "[::1]:9092",
            "[fe80::1%eth0]:9092",
            "PLAINTEXT://a:1,plaintext://b",
            "plaintext://a:1/path",
            "b\u{fc}cher:9092",
        ] {
            assert_eq!(error(servers, "plaintext"), None, "{servers:?}");
        }
        assert_eq!(error("sasl_plaintext://a:1", "SASL_PLAINTEXT"), None);
    }

    #[test]
    fn s33_an_invalid_or_misread_entry_is_named_with_a_correction() {
        for (servers, named, instead) in [
            ("http://a:9092", "`http://a:9092`", "write `a:9092`"),
            ("kafka://a:1,b:2", "`kafka://a:1`", "write `a:1`"),
            ("://a:1", "`://a:1`", "write `a:1`"),
            ("ssl://a:1", "`security.protocol` is plaintext", "`security.protocol=ssl`"),
            ("\"a:1\"", "`\"a:1\"`", "`a:1`"),
            ("'a:1,b:2'", "`'a:1`", "`a:1`"),
            ("a:1,,b:2", "entry number 2 is empty", "`host:port`"),
            (",", "entry number 1 is empty", "`host:port`"),
            ("a:1,", "entry number 2 is empty", "`host:port`"),
            ("a:99999", "`99999` is not a port", "`a:9092`"),
            ("a:65536", "`65536` is not a port", "`a:9092`"),
            ("a:abc", "`abc` is not a port", "`a:9092`"),
            ("a:0", "`0` is not a port", "`a:9092`"),
            ("a:+1", "`+1` is not a port", "`a:9092`"),
            ("a:", "`a:`: no port", "`a:9092`"),
            ("a: 9092", "`a: 9092`", "`a:9092`"),
            ("a:1:2", "`1:2` is not a port", "`a:9092`"),
            ("a:9092/kafka", "`9092/kafka` is not a port", "`a:9092`"),
            ("a b:1", "`a b:1`", "a comma"),
            ("a ,b:1", "`a`: a host name must not contain blanks", "`host:port`"),
            ("a;b", "must not contain `;`", "a comma"),
            ("${HOST}:1", "must not contain `$`", "`host:port`"),
            (":9092", "the host is missing", "`localhost:9092`"),
            ("::1", "brackets", "`[::1]:9092`"),
            ("[::1", "not closed", "`[::1]:9092`"),
            ("[a]:1", "`a` is not an IPv6 address", "without brackets"),
            ("[::1]9092", "`9092` follows", "`[::1]:9092`"),
            ("[::1]:x", "`x` is not a port", "`[::1]:9092`"),
        ] {
            let text = error(servers, "plaintext").unwrap_or_else(|| panic!("{servers:?} is accepted"));
            let all = [SERVERS, named, instead].iter().all(|part| text.contains(part));
            assert!(all, "{servers:?}: {text}");
        }
    }

    #[test]
    fn s33_credentials_in_an_entry_are_not_shown() {
        for servers in ["https://me:hunter2@a:1", "me:hunter2@a:1"] {
            let text = error(servers, "plaintext").expect("refused");
            assert!(text.contains("@a:1") && !text.contains("hunter2"), "{text}");
        }
    }
}
