//! Why records are not delivered at the moment, from librdkafka's errors and its log.
//!
//! librdkafka reports once why a connection failed, and later fails the records with nothing but "timed out". So the last reason
//! is kept until a record is delivered.

use std::sync::Arc;

use aioproducer_core::backend::{FailureKind, Trouble};

use crate::events::event::{ClientError, LogLine};
use crate::failure;

/// The facility of librdkafka's lines about a connection that ended.
pub(super) const CONNECTION_ENDED: &str = "FAIL";

/// Texts of librdkafka that say more than its error codes.
const HINTS: [(&str, FailureKind); 3] = [
    ("SSL handshake failed", FailureKind::Tls),
    ("connecting to a SSL listener?", FailureKind::Tls),
    ("broker might require SASL authentication", FailureKind::Authentication),
];

#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Why the last connection failed, since the last delivery.
    last: Option<(FailureKind, String)>,
    /// The number of brokers, if none of them is reachable.
    down: Option<String>,
    /// That all brokers are down, without a reason: idle connections end like this. It is held back until there is a reason.
    held_back: Option<ClientError>,
}

impl Troubles {
    /// Takes an error of the client. Returns the errors to report now, which may include one that was held back.
    pub(super) fn error(&mut self, error: ClientError) -> Vec<ClientError> {
        if error.is_all_brokers_down() {
            self.down = brokers(&error.reason).map(str::to_owned);
            return match &self.last {
                Some((_, reason)) => vec![with_cause(error, reason)],
                None => {
                    self.held_back = Some(error);
                    Vec::new()
                }
            };
        }
        let reason = bare(&error.reason);
        self.keep(kind(failure::while_connections_fail(error.code.number()), reason), reason);
        let held_back = self.held_back.take().map(|error| with_cause(error, reason));
        std::iter::once(error).chain(held_back).collect()
    }

    /// Takes a line of the log. Returns an error that was held back, if the line is its reason.
    pub(super) fn line(&mut self, line: &LogLine) -> Option<ClientError> {
        if line.facility != CONNECTION_ENDED {
            return None;
        }
        let full = without_thread(&line.message);
        let again = self.last.as_ref().is_some_and(|(_, last)| last.starts_with(bare(full)));
        let reason = format!("{}{}", bare(full), hint(full, again));
        if self.last.as_ref().is_none_or(|(_, last)| *last != reason) {
            self.keep(kind(FailureKind::TimedOut, &reason), &reason);
        }
        self.held_back.take().map(|error| with_cause(error, &reason))
    }

    /// Keeps the reason. A broker that refuses a handshake or a login may reset the next connection without an answer, which says
    /// less than its answer before.
    fn keep(&mut self, kind: FailureKind, reason: &str) {
        let says_less = kind == FailureKind::TimedOut && reason.contains(": Disconnected: ");
        let is_known = |(known, last): &(FailureKind, String)| {
            *known != FailureKind::TimedOut && broker(last).is_some_and(|before| broker(reason) == Some(before))
        };
        if !(says_less && self.last.as_ref().is_some_and(is_known)) {
            self.last = Some((kind, reason.to_owned()));
        }
    }

    /// A record was delivered. Returns whether there was any trouble before.
    pub(super) fn clear(&mut self) -> bool {
        let before = std::mem::take(self);
        before.last.is_some() || before.down.is_some()
    }

    /// The current trouble.
    pub(super) fn current(&self) -> Option<Trouble> {
        let (kind, last) = self.last.as_ref()?;
        let reason = match &self.down {
            Some(count) => format!("0 of {count} brokers reachable; last error: {last}"),
            None => format!("last error: {last}"),
        };
        // While another broker is reachable, the one that refuses the login need not be the leader that a record waits for.
        let kind = if self.down.is_some() { *kind } else { FailureKind::TimedOut };
        Some(Trouble { kind, reason: Arc::from(reason) })
    }
}

/// The kind by the code, or by the text if the code says nothing.
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

/// A reason without the parts that differ each time: the time in the connection's state, and the number of suppressed errors.
pub(super) fn bare(reason: &str) -> &str {
    match reason.rsplit_once(" (after ") {
        Some((bare, rest)) if rest.ends_with(')') && rest.contains(" in state ") => bare,
        _ => reason,
    }
}

/// The broker that a reason begins with, such as `ssl://kafka-1:9093/1`.
fn broker(reason: &str) -> Option<&str> {
    reason.split_once(": ").map(|(broker, _)| broker)
}

/// The number of brokers in "2/2 brokers are down".
fn brokers(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once('/')?;
    let (count, _) = rest.split_once(' ')?;
    count.bytes().all(|byte| byte.is_ascii_digit()).then_some(count)
}

/// The likely cause when a broker closes a connection at its beginning. A broker that does so once may just have stopped, so
/// some hints need it to happen `again`.
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
        " (does this listener require a login? see `security.protocol`)"
    } else {
        ""
    }
}

/// A line without the name of librdkafka's thread.
pub(super) fn without_thread(line: &str) -> &str {
    let rest = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
    rest.map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use aioproducer_core::backend::ErrorCode;

    use super::*;
    use crate::events::event::LogLevel;

    fn error(code: ErrorCode, reason: &str) -> ClientError {
        ClientError { code, reason: reason.to_owned(), fatal: false }
    }

    fn all_down() -> ClientError {
        error(ErrorCode::LocalAllBrokersDown, "2/2 brokers are down")
    }

    fn fail(message: &str) -> LogLine {
        LogLine { level: LogLevel::Info, facility: "FAIL".into(), message: message.into() }
    }

    fn reasons(errors: &[ClientError]) -> Vec<&str> {
        errors.iter().map(|error| error.reason.as_str()).collect()
    }

    #[test]
    fn s34_ended_idle_connections_are_no_error_until_one_fails() {
        let mut troubles = Troubles::default();
        assert_eq!(reasons(&troubles.error(all_down())), [""; 0]);
        assert_eq!(troubles.current(), None);
        let text = "b:1: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)";
        let refused = error(ErrorCode::LocalTransport, text);
        let both = troubles.error(refused);
        assert_eq!(
            reasons(&both),
            [
                "b:1: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)",
                "0 of 2 brokers reachable; last error: b:1: Connection refused"
            ]
        );
        let trouble = troubles.current().expect("a trouble");
        assert_eq!(&*trouble.reason, "0 of 2 brokers reachable; last error: b:1: Connection refused");
        assert_eq!(trouble.kind, FailureKind::TimedOut);
        assert!(troubles.clear() && !troubles.clear() && troubles.current().is_none());
        assert_eq!(reasons(&troubles.error(all_down())), [""; 0], "a trouble from before a delivery is no cause");
    }

    #[test]
    fn s17_a_refused_login_is_the_cause_when_no_broker_is_reachable() {
        let mut troubles = Troubles::default();
        troubles.error(error(ErrorCode::LocalAuthentication, "b:1: Invalid username or password"));
        assert_eq!(troubles.current().map(|trouble| trouble.kind), Some(FailureKind::TimedOut));
        assert_eq!(troubles.error(all_down()).len(), 1);
        assert_eq!(troubles.current().map(|trouble| trouble.kind), Some(FailureKind::Authentication));
    }

    #[test]
    fn s17_a_line_of_the_log_is_a_cause_too() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.error(all_down()), []);
        let line = fail("[thrd:b:1/bootstrap]: b:1/bootstrap: Disconnected: connecting to a SSL listener?");
        let held_back = troubles.line(&line).expect("it was held back");
        assert!(
            held_back.is_all_brokers_down()
                && held_back.reason.ends_with(": b:1/bootstrap: Disconnected: connecting to a SSL listener?")
        );
        assert_eq!(troubles.current().map(|trouble| trouble.kind), Some(FailureKind::Tls));
        assert_eq!(troubles.line(&LogLine { facility: "GETPID".into(), ..line }), None);
    }

    #[test]
    fn s17_a_connection_that_is_closed_at_once_has_a_hint() {
        let last = |state: &str| {
            let mut troubles = Troubles::default();
            let line = fail(&format!("[thrd:b:1]: b:1: Disconnected: closed by peer ({state})"));
            troubles.line(&line);
            let once = troubles.current().expect("a trouble").reason;
            assert!(!once.contains("login"), "the broker may just have stopped: {once}");
            troubles.line(&line);
            troubles.current().expect("a trouble").reason.to_string()
        };
        assert!(last("after 0ms in state APIVERSION_QUERY").ends_with("expect TLS? see `security.protocol`)"));
        assert!(last("after 7ms in state UP, 1 identical error(s) suppressed").contains("require a login?"));
        for usual in ["after 600000ms in state UP", "after 0ms in state CONNECT"] {
            assert_eq!(last(usual), "last error: b:1: Disconnected: closed by peer");
        }
    }

    #[test]
    fn a_line_about_an_error_keeps_the_kind_of_the_error() {
        let mut troubles = Troubles::default();
        troubles.error(error(ErrorCode::LocalSsl, "b:1: handshake failed"));
        troubles.line(&fail("[thrd:b:1]: b:1: handshake failed"));
        troubles.error(all_down());
        assert_eq!(troubles.current().map(|trouble| trouble.kind), Some(FailureKind::Tls));
    }

    #[test]
    fn s17_a_reset_of_the_next_connection_does_not_hide_why_the_broker_refused_the_one_before() {
        let mut troubles = Troubles::default();
        let kind = |troubles: &Troubles| troubles.current().map(|trouble| trouble.kind);
        troubles.error(error(ErrorCode::LocalSsl, "ssl://b:1/1: SSL handshake failed: it is plain text"));
        troubles.error(all_down());
        troubles.error(error(ErrorCode::LocalTransport, "ssl://b:1/1: Disconnected: connection reset by peer"));
        assert_eq!(kind(&troubles), Some(FailureKind::Tls));
        assert!(troubles.current().expect("a trouble").reason.ends_with("it is plain text"));
        troubles.error(error(ErrorCode::LocalTransport, "ssl://b:2/2: Disconnected: connection reset by peer"));
        assert_eq!(kind(&troubles), Some(FailureKind::TimedOut), "another broker");
        troubles.error(error(ErrorCode::LocalSsl, "ssl://b:1/1: SSL handshake failed: it is plain text"));
        troubles.error(error(ErrorCode::LocalTransport, "ssl://b:1/1: Connect to b:1 failed: Connection refused"));
        assert_eq!(kind(&troubles), Some(FailureKind::TimedOut), "the broker is gone");
    }
}
