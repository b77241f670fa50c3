//! Values that must not be shown, and texts without them.
//!
//! Secret are the values of secret keys, each as a whole, and the secrets that the application sets later. A secret of
//! [`LONG`] bytes or more is hidden wherever it occurs in a text. A shorter one could be part of any word, so it is hidden only
//! as a word of its own: neither neighbour is a letter, a digit or `_`, nor a dot, a hyphen or an apostrophe that joins it to
//! one. With the password `p`, `password=p` becomes `password=***` and `support` stays.

use std::collections::VecDeque;

use rdkafka::config::ClientConfig;

/// The number of secrets that are remembered besides the configured ones. The application replaces them over time, so the
/// oldest are forgotten.
const LATER: usize = 16;

/// The length in bytes from which on a secret is hidden within words, too.
const LONG: usize = 8;

/// Keys with secret values: those that librdkafka marks as sensitive, except names of files and of users.
const SECRET: [&str; 9] = [
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.secret",
    TOKEN_CONFIG,
    "sasl.password",
    "ssl.ca.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Aliases of secret keys, and secret keys of Kafka's Java client, which librdkafka refuses.
const ALSO_SECRET: [&str; 6] = [
    "sasl.jaas.config",
    "sasl.oauthbearer.client.credentials.client.secret",
    "ssl.key",
    "ssl.keystore.key",
    "ssl.truststore.password",
    "ssl_key",
];

/// librdkafka's error quotes the value of this key from the first part that it cannot parse to the end.
const TOKEN_CONFIG: &str = "sasl.oauthbearer.config";

/// Values that must not be shown.
#[derive(Default)]
pub(crate) struct Secrets {
    configured: Vec<String>,
    later: VecDeque<String>,
}

impl Secrets {
    /// The values of the secret keys of `config`.
    pub(crate) fn of(config: &ClientConfig) -> Self {
        let keys = config.config_map().into_keys().filter(|key| is_secret(key));
        let mut secrets = Self::default();
        for (key, value) in keys.filter_map(|key| Some((key, config.get(key)?))) {
            // librdkafka strips leading spaces.
            secrets.configure(value);
            secrets.configure(value.trim_start());
            if key == TOKEN_CONFIG {
                let starts = value.match_indices(char::is_whitespace).map(|(at, space)| at + space.len());
                starts.for_each(|start| secrets.configure(&value[start..]));
                value.split_whitespace().for_each(|part| secrets.configure(part));
            }
        }
        secrets
    }

    fn configure(&mut self, form: &str) {
        if !form.trim().is_empty() && !self.configured.iter().any(|known| known == form) {
            self.configured.push(form.to_owned());
        }
    }

    /// Remembers one more secret.
    pub(crate) fn add(&mut self, secret: &str) {
        if secret.is_empty() || self.all().any(|known| known == secret) {
            return;
        }
        self.later.truncate(LATER - 1);
        self.later.push_front(secret.to_owned());
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.configured.iter().chain(&self.later).map(String::as_str)
    }

    /// `text` with each secret replaced by `***`. Overlapping secrets are replaced together.
    pub(crate) fn hide(&self, text: String) -> String {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for secret in self.all() {
            let places = overlapping(&text, secret).map(|start| (start, start + secret.len()));
            found.extend(places.filter(|&(start, end)| secret.len() >= LONG || stands_alone(&text, start, end)));
        }
        if found.is_empty() {
            return text;
        }
        // Of those that begin at the same place, the longest comes first.
        found.sort_unstable_by_key(|&(start, end)| (start, std::cmp::Reverse(end)));
        let (mut shown, mut hidden_to) = (String::with_capacity(text.len()), 0);
        for (start, end) in found {
            if start >= hidden_to {
                shown.push_str(&text[hidden_to..start]);
                shown.push_str("***");
            }
            hidden_to = hidden_to.max(end);
        }
        shown.push_str(&text[hidden_to..]);
        shown
    }
}

/// The positions of `part` in `text`, overlapping ones included.
fn overlapping<'a>(text: &'a str, part: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.find(part)?;
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
        Some(start)
    })
}

/// Whether the text from `start` to `end` is a word of its own.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let is_of_word = |char: char| char.is_alphanumeric() || char == '_';
    let joins = |mut away: Box<dyn Iterator<Item = char> + '_>| match away.next() {
        Some('.' | '-' | '\'') => away.next().is_some_and(is_of_word),
        next => next.is_some_and(is_of_word),
    };
    let secret = &text[start..end];
    // A punctuation mark at the end of the secret separates it from its neighbour.
    let before = secret.starts_with(is_of_word) && joins(Box::new(text[..start].chars().rev()));
    let after = secret.ends_with(is_of_word) && joins(Box::new(text[end..].chars()));
    !before && !after
}

/// Whether the value of `key` is secret.
pub(crate) fn is_secret(key: &str) -> bool {
    SECRET.contains(&key) || ALSO_SECRET.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vendored;

    fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let mut config = ClientConfig::new();
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        Secrets::of(&config)
    }

    #[test]
    fn s33_a_secret_within_another_one_leaves_nothing_of_it() {
        // A configuration has no order, so this is tried several times.
        for _ in 0..20 {
            let secrets =
                secrets(&[("ssl.key.password", "admin"), ("sasl.password", "admin-7x"), ("ssl.key.pem", "-7")]);
            assert_eq!(secrets.hide("admin-7x of admin at -7".into()), "*** of *** at ***");
        }
        let overlapping = secrets(&[("sasl.password", "hunter22x"), ("ssl.key.password", "22xyz-long")]);
        assert_eq!(overlapping.hide("is hunter22xyz-long.".into()), "is ***.");
    }

    #[test]
    fn s33_a_short_secret_is_hidden_where_it_is_a_word() {
        let secrets = secrets(&[("sasl.username", "u"), ("sasl.password", "p"), ("ssl.key.password", "ca")]);
        for (text, shown) in [
            ("password=p", "password=***"),
            ("p", "***"),
            ("user u, password \"p\".", "user u, password \"***\"."),
            ("the password is p.", "the password is ***."),
            ("support for 0p and p0 up p_ -p-", "support for 0p and p0 up p_ -***-"),
            ("ssl.ca.location: ca", "ssl.ca.location: ***"),
            ("e-p p-e p's", "e-p p-e p's"),
            ("\u{fc}p p\u{fc}", "\u{fc}p p\u{fc}"),
        ] {
            assert_eq!(secrets.hide(text.into()), shown);
        }
    }

    #[test]
    fn s33_a_long_secret_is_hidden_everywhere() {
        let secrets = secrets(&[("sasl.password", "hunter2!"), ("ssl.key.pem", "M\u{fc}ller-7")]);
        assert_eq!(secrets.hide("xhunter2!x aM\u{fc}ller-7b hunter2".into()), "x***x a***b hunter2");
    }

    #[test]
    fn s33_a_secret_is_hidden_as_librdkafka_parses_it() {
        let secrets = secrets(&[("sasl.password", "  hunter2"), ("client.id", "hunter")]);
        assert_eq!(secrets.hide("hunter2,   hunter2, hunter".into()), "***, ***, hunter");
        let token = super::tests::secrets(&[("sasl.oauthbearer.config", "scope=a  extension_x=hunter2 principal=me")]);
        for rest in ["extension_x=hunter2 principal=me", "extension_x=hunter2", " principal=me"] {
            let text = token.hide(format!("Unrecognized beginning at: {rest}"));
            assert!(!text.contains("hunter2") && !text.contains("me"), "{text}");
        }
    }

    #[test]
    fn s33_later_secrets_are_hidden_and_the_oldest_are_forgotten() {
        let mut secrets = secrets(&[("sasl.password", "first")]);
        for n in 0..1_000 {
            secrets.add(&format!("<{n}>"));
            secrets.add("");
        }
        assert_eq!(secrets.hide("first <0> <999> <984>".into()), "*** <0> *** ***");
        assert_eq!(secrets.later.len(), LATER);
    }

    #[test]
    fn s33_secret_keys_are_those_that_librdkafka_marks() {
        let Some(source) = vendored::file("src/rdkafka_conf.c") else { return };
        let (_, table) = source.split_once("rd_kafka_properties[] = {").expect("the table");
        // An entry begins with its flags and its name.
        let entries = table.split("_RK_").collect::<Vec<_>>();
        let marked = entries.iter().filter_map(|flag| flag.strip_prefix("SENSITIVE,")?.split('"').nth(1));
        let public = ["sasl.username", "ssl.key.location", "sasl.oauthbearer.assertion.private.key.file", "ssl_key"];
        let mut marked: Vec<_> = marked.filter(|key| !public.contains(key)).collect();
        marked.sort_unstable();
        assert_eq!(marked, SECRET);
    }
}
