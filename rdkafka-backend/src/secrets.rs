//! Values that must not be shown, and texts without them.

use std::collections::VecDeque;

use rdkafka::config::ClientConfig;

/// Secrets that came later than the configuration and are remembered: as the application changes them, the oldest are of no
/// use to anybody.
const LATER: usize = 16;

/// Values that must not be shown.
#[derive(Default)]
pub(crate) struct Secrets {
    configured: Vec<String>,
    later: VecDeque<String>,
}

impl Secrets {
    /// The values of secret keys.
    pub(crate) fn of(config: &ClientConfig) -> Self {
        let keys = config.config_map().into_keys().filter(|key| is_secret(key));
        let mut secrets = Self::default();
        for value in keys.filter_map(|key| config.get(key)) {
            // librdkafka leaves leading spaces out.
            for form in [value, value.trim_start()] {
                if !form.is_empty() && !secrets.configured.iter().any(|known| known == form) {
                    secrets.configured.push(form.to_owned());
                }
            }
        }
        secrets
    }

    /// Remembers what is secret from now on.
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

    /// `text` without them. The longest go first: a shorter one may be a part of it, and would leave the rest.
    pub(crate) fn hide(&self, mut text: String) -> String {
        let mut found: Vec<&str> = self.all().filter(|secret| text.contains(secret)).collect();
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in found {
            text = text.replace(secret, "***");
        }
        text
    }
}

/// Whether a key's value must not be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    const MARKS: [&str; 8] =
        ["password", "secret", "pem", "ssl.key", "ssl_key", "sasl.username", "oauthbearer.config", "private"];
    MARKS.iter().any(|mark| key.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let mut config = ClientConfig::new();
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        Secrets::of(&config)
    }

    #[test]
    fn s33_a_secret_that_is_a_part_of_another_leaves_nothing_of_it() {
        // The order of a configuration is chance, so many are tried.
        for _ in 0..20 {
            let secrets = secrets(&[("sasl.username", "admin"), ("sasl.password", "admin-7x"), ("ssl.key.pem", "-7")]);
            assert_eq!(secrets.hide("admin-7x of admin at -7".into()), "*** of *** at ***");
        }
    }

    #[test]
    fn s33_a_secret_is_hidden_as_librdkafka_reads_it() {
        let secrets = secrets(&[("sasl.password", "  hunter2"), ("client.id", "hunter")]);
        assert_eq!(secrets.hide("hunter2,   hunter2, hunter".into()), "***, ***, hunter");
    }

    #[test]
    fn s33_secrets_that_come_later_are_hidden_and_not_kept_for_ever() {
        let mut secrets = secrets(&[("sasl.password", "first")]);
        for n in 0..1_000 {
            secrets.add(&format!("<{n}>"));
            secrets.add("");
        }
        assert_eq!(secrets.hide("first <0> <999> <984>".into()), "*** <0> *** ***");
        assert_eq!(secrets.later.len(), LATER);
    }
}
