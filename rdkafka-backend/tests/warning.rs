//! S18: that idempotence is off is a warning in the application's log, whoever listens to events.

mod common;

use std::sync::Mutex;

use common::{Rig, broker};
use log::{Level, LevelFilter, Log, Metadata, Record};

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("aioproducer")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) && record.level() == Level::Warn {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn s18_a_setting_that_turns_idempotence_off_is_a_warning_in_the_log() {
    log::set_logger(&Warnings).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let broker = broker(1);
    for pairs in [&[][..], &[("acks", "all")], &[("acks", "1")]] {
        Rig::new(pairs, &broker, 1, 10).end();
    }
    let warnings = WARNINGS.lock().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("`acks` is `1`"), "{warnings:?}");
}
