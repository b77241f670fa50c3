//! What stands in the way of deliveries, as librdkafka's errors and its log tell it.
//!
//! librdkafka says why a connection failed, and later fails the records with nothing but "timed out". So the last reason is
//! kept until a record arrives.

use std::sync::Arc;

use aioproducer_core::backend::{FailureKind, Trouble};

use crate::events::{ClientError, LogLine};
use crate::reports::failure;

/// The facility of librdkafka's lines about a connection that ended.
const CONNECTION_ENDED: &str = "FAIL";

/// What librdkafka's texts say more than its codes.
const HINTS: [(&str, FailureKind); 3] = [
    ("SSL handshake failed", FailureKind::Tls),
    ("connecting to a SSL listener?", FailureKind::Tls),
    ("broker might require SASL authentication", FailureKind::Authentication),
];

#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Why the last connection failed, since the last record arrived.
    last: Option<(FailureKind, String)>,
    /// How many brokers there are, if none is reachable.
    down: Option<String>,
    /// That all brokers are down, untold: connections that were idle end without a reason.
    untold: Option<ClientError>,
}

impl Troubles {
    /// Takes an error of the client's; what is to be told of it, and maybe of an earlier one.
    pub(crate) fn error(&mut self, error: ClientError) -> Vec<ClientError> {
        if error.is_all_brokers_down() {
            self.down = brokers(&error.reason).map(str::to_owned);
            return match &self.last {
                Some((_, reason)) => vec![with_cause(error, reason)],
                None => {
                    self.untold = Some(error);
                    Vec::new()
                }
            };
        }
        let reason = bare(&error.reason);
        self.last = Some((kind(failure::trouble(error.code), reason), reason.to_owned()));
        let untold = self.untold.take().map(|untold| with_cause(untold, reason));
        std::iter::once(error).chain(untold).collect()
    }

    /// Takes a line of the log; what is to be told of what was held back till now.
    pub(crate) fn line(&mut self, line: &LogLine) -> Option<ClientError> {
        if line.facility != CONNECTION_ENDED {
            return None;
        }
        let full = without_thread(&line.message);
        let again = self.last.as_ref().is_some_and(|(_, last)| last.starts_with(bare(full)));
        let reason = format!("{}{}", bare(full), hint(full, again));
        if self.last.as_ref().is_none_or(|(_, last)| *last != reason) {
            self.last = Some((kind(FailureKind::TimedOut, &reason), reason.clone()));
        }
        self.untold.take().map(|untold| with_cause(untold, &reason))
    }

    /// A record has arrived; whether anything was in its way before.
    pub(crate) fn over(&mut self) -> bool {
        let was = std::mem::take(self);
        was.last.is_some() || was.down.is_some()
    }

    pub(crate) fn now(&self) -> Option<Trouble> {
        let (kind, last) = self.last.as_ref()?;
        let reason = match &self.down {
            Some(count) => format!("0 of {count} brokers reachable; last error: {last}"),
            None => format!("last error: {last}"),
        };
        // With a broker left, one that refuses the login need not be the one that a record waits for.
        let kind = if self.down.is_some() { *kind } else { FailureKind::TimedOut };
        Some(Trouble { kind, reason: Arc::from(reason) })
    }
}

/// The kind by a code, or by the text if the code says nothing.
fn kind(by_code: FailureKind, reason: &str) -> FailureKind {
    let hint = HINTS.iter().find(|(hint, _)| reason.contains(hint));
    hint.filter(|_| by_code == FailureKind::TimedOut).map_or(by_code, |(_, kind)| *kind)
}

fn with_cause(error: ClientError, cause: &str) -> ClientError {
    let reason = match brokers(&error.reason) {
        Some(count) => format!("0 of {count} brokers reachable; last error: {cause}"),
        None => format!("{}; last error: {cause}", error.reason),
    };
    ClientError { reason, ..error }
}

/// A reason without what differs each time: how long the connection was in which state, and how often that was left out.
pub(crate) fn bare(reason: &str) -> &str {
    match reason.rsplit_once(" (after ") {
        Some((bare, rest)) if rest.ends_with(')') && rest.contains(" in state ") => bare,
        _ => reason,
    }
}

/// How many there are, of "2/2 brokers are down".
fn brokers(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once('/')?;
    let (count, _) = rest.split_once(' ')?;
    count.bytes().all(|byte| byte.is_ascii_digit()).then_some(count)
}

/// What a connection that the other side closed at its very beginning may mean, when it does so `again`, as a broker may just
/// have stopped.
fn hint(reason: &str, again: bool) -> &'static str {
    let Some((rest, state)) = reason.rsplit_once(" in state ") else { return "" };
    let Some((what, after)) = rest.rsplit_once(" (after ") else { return "" };
    let at_once = after.strip_suffix("ms").and_then(|time| time.parse().ok()).is_some_and(|time: u32| time < 2_000);
    let was_closed = what.contains("Disconnected") || what.contains("Send failed");
    if !at_once || !was_closed || what.contains('?') {
        ""
    } else if state.starts_with("APIVERSION_QUERY") {
        " (does this listener expect TLS? see `security.protocol`)"
    } else if state.starts_with("UP") && again {
        " (does this listener ask for a login? see `security.protocol`)"
    } else {
        ""
    }
}

/// A line without the name of librdkafka's thread.
pub(crate) fn without_thread(line: &str) -> &str {
    let rest = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
    rest.map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use rdkafka_sys::rd_kafka_resp_err_t::*;

    use super::*;
    use crate::events::LogLevel;

    fn error(code: i32, reason: &str) -> ClientError {
        ClientError { code, reason: reason.to_owned(), fatal: false }
    }

    fn all_down() -> ClientError {
        error(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32, "2/2 brokers are down")
    }

    fn fail(message: &str) -> LogLine {
        LogLine { level: LogLevel::Info, facility: "FAIL".into(), message: message.into() }
    }

    fn told(errors: &[ClientError]) -> Vec<&str> {
        errors.iter().map(|error| error.reason.as_str()).collect()
    }

    #[test]
    fn s34_idle_connections_that_end_are_no_error_until_one_fails() {
        let mut troubles = Troubles::default();
        assert_eq!(told(&troubles.error(all_down())), [""; 0]);
        assert_eq!(troubles.now(), None);
        let text = "b:1: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)";
        let refused = error(RD_KAFKA_RESP_ERR__TRANSPORT as i32, text);
        let both = troubles.error(refused);
        assert_eq!(
            told(&both),
            [
                "b:1: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)",
                "0 of 2 brokers reachable; last error: b:1: Connection refused"
            ]
        );
        let now = troubles.now().expect("a trouble");
        assert_eq!(&*now.reason, "0 of 2 brokers reachable; last error: b:1: Connection refused");
        assert_eq!(now.kind, FailureKind::TimedOut);
        assert!(troubles.over() && !troubles.over() && troubles.now().is_none());
        assert_eq!(told(&troubles.error(all_down())), [""; 0], "what was before a delivery is no cause");
    }

    #[test]
    fn s17_a_refused_login_is_a_kind_of_its_own_when_no_broker_is_left() {
        let mut troubles = Troubles::default();
        troubles.error(error(RD_KAFKA_RESP_ERR__AUTHENTICATION as i32, "b:1: Invalid username or password"));
        assert_eq!(troubles.now().map(|now| now.kind), Some(FailureKind::TimedOut));
        assert_eq!(troubles.error(all_down()).len(), 1);
        assert_eq!(troubles.now().map(|now| now.kind), Some(FailureKind::Authentication));
    }

    #[test]
    fn s17_what_only_the_log_tells_is_a_cause_too() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.error(all_down()), []);
        let line = fail("[thrd:b:1/bootstrap]: b:1/bootstrap: Disconnected: connecting to a SSL listener?");
        let untold = troubles.line(&line).expect("it was held back");
        assert!(
            untold.is_all_brokers_down()
                && untold.reason.ends_with(": b:1/bootstrap: Disconnected: connecting to a SSL listener?")
        );
        assert_eq!(troubles.now().map(|now| now.kind), Some(FailureKind::Tls));
        assert_eq!(troubles.line(&LogLine { facility: "GETPID".into(), ..line }), None);
    }

    #[test]
    fn s17_a_connection_that_ends_at_once_has_a_hint() {
        let last = |state: &str| {
            let mut troubles = Troubles::default();
            let line = fail(&format!("[thrd:b:1]: b:1: Disconnected: closed by peer ({state})"));
            troubles.line(&line);
            let once = troubles.now().expect("a trouble").reason;
            assert!(!once.contains("login"), "it may just have stopped: {once}");
            troubles.line(&line);
            troubles.now().expect("a trouble").reason.to_string()
        };
        assert!(last("after 0ms in state APIVERSION_QUERY").ends_with("expect TLS? see `security.protocol`)"));
        assert!(last("after 7ms in state UP, 1 identical error(s) suppressed").contains("ask for a login?"));
        for usual in ["after 600000ms in state UP", "after 0ms in state CONNECT"] {
            assert_eq!(last(usual), "last error: b:1: Disconnected: closed by peer");
        }
    }

    #[test]
    fn a_line_of_an_error_takes_nothing_from_its_kind() {
        let mut troubles = Troubles::default();
        troubles.error(error(RD_KAFKA_RESP_ERR__SSL as i32, "b:1: handshake failed"));
        troubles.line(&fail("[thrd:b:1]: b:1: handshake failed"));
        troubles.error(all_down());
        assert_eq!(troubles.now().map(|now| now.kind), Some(FailureKind::Tls));
    }
}
