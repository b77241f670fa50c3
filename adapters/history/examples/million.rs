//! How long a million records take: `cargo run --release -p aioproducer-history --example million`.

use std::time::{Duration, Instant};

use aioproducer_history::{History, Log, LogEntry, Operation, ProduceCall, check};

const RECORDS: u64 = 1_000_000;

fn main() {
    let begin = Instant::now();
    let (history, log) = story();
    println!("noted after {:?}", begin.elapsed());
    let begin = Instant::now();
    let verdict = check(&history, &log);
    println!("checked after {:?}: {verdict}", begin.elapsed());
    assert!(verdict.is_right());
}

/// Records with 1,000 keys in 12 partitions, a flush for each 1,000 of them.
fn story() -> (History, Log) {
    let (mut history, mut log) = (History::new().delivery_timeout(Duration::from_secs(1)), Log::new());
    let mut offsets = [0; 12];
    let mut open = Vec::new();
    for id in 0..RECORDS {
        let at = Duration::from_micros(id);
        let (key, payload) = (format!("key {}", id % 1_000), format!("order {id}"));
        let record = history.produce(at, ProduceCall::new(id, "orders").key(&key).payload(&payload));
        history.accepted(record);
        let partition = (id % 1_000 % 12) as i32;
        let offset = &mut offsets[partition as usize];
        log.push("orders", partition, *offset, LogEntry::record(id).payload(&payload));
        open.push((record, partition, *offset));
        *offset += 1;
        if open.len() == 1_000 {
            let flush = history.begin(at, Operation::Flush);
            for (record, partition, offset) in open.drain(..) {
                history.delivered(record, at, partition, offset);
            }
            history.returned(flush, at);
            history.slots_in_use(at, 0);
        }
    }
    (history, log)
}
