//! Lines for the application's operator, where no other listener exists: to `tracing` if it has a subscriber, else to the
//! crate `log` if it has a logger, else to standard error.

use std::io::Write;

use aioproducer_core::backend::Severity;

/// Writes a line. It runs the code of a subscriber or a logger.
pub(crate) fn write(severity: Severity, line: &str) {
    if to_tracing(severity, line) {
        return;
    }
    let (level, name) = match severity {
        Severity::Error => (log::Level::Error, "error"),
        Severity::Warning => (log::Level::Warn, "warning"),
    };
    if log::max_level() == log::LevelFilter::Off {
        // There is no logger. A failure to write has nowhere to go.
        let _ = writeln!(std::io::stderr(), "aioproducer: {name}: {line}");
    } else {
        log::log!(target: "aioproducer", level, "{line}");
    }
}

#[cfg(feature = "tracing")]
fn to_tracing(severity: Severity, line: &str) -> bool {
    use tracing::dispatcher::get_default;
    use tracing::subscriber::NoSubscriber;

    if get_default(|dispatch| dispatch.is::<NoSubscriber>()) {
        return false;
    }
    match severity {
        Severity::Error => tracing::error!(target: "aioproducer", "{line}"),
        Severity::Warning => tracing::warn!(target: "aioproducer", "{line}"),
    }
    true
}

#[cfg(not(feature = "tracing"))]
fn to_tracing(_: Severity, _: &str) -> bool {
    false
}
