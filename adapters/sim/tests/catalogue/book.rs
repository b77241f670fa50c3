//! What producers said of each record, against the logs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aioproducer_driver::error::{SendError, Status};
use aioproducer_driver::{AioProducer, Delivery, DeliveryError, DeliveryReport, Record};
use aioproducer_sim::Case;

use crate::FAULTS;

/// Longer than a request that the client has given up on can be under way.
const REST: Duration = Duration::from_secs(60);

/// Where a record goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Anywhere,
    Key(&'static str),
    Partition(i32),
}

/// The last word on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// No word yet.
    Nothing,
    /// The scenario does not ask.
    Unheard,
    Delivered(i32, i64),
    /// Never in the log: it failed as not persisted, was taken back, or was not accepted.
    Unsent,
    /// It may be in the log.
    Doubtful,
}

struct Noted {
    /// Records of a line keep their order in the log.
    line: Option<String>,
    said: Said,
}

/// The records of a run. Clones are the same book.
#[derive(Clone)]
pub(crate) struct Book(Arc<Inner>);

struct Inner {
    case: Case,
    records: Mutex<Vec<Noted>>,
    producers: Mutex<Vec<AioProducer>>,
}

impl Book {
    pub(crate) fn new(case: &Case) -> Self {
        Self(Arc::new(Inner { case: case.clone(), records: Mutex::default(), producers: Mutex::default() }))
    }

    fn records(&self) -> MutexGuard<'_, Vec<Noted>> {
        self.0.records.lock().unwrap()
    }

    /// A producer that has to be empty at the end, and to have met no report that it does not know.
    pub(crate) fn watch(&self, producer: AioProducer) -> AioProducer {
        self.0.case.watch(&producer);
        self.0.producers.lock().unwrap().push(producer.clone());
        producer
    }

    /// The next record; its payload is its number.
    pub(crate) fn record(&self, line: &str, to: To) -> (usize, Record<'static>) {
        let mut records = self.records();
        let number = records.len();
        let (line, record) = (format!("{line} {to:?}"), crate::record(number));
        let (line, record) = match to {
            To::Anywhere => (None, record),
            To::Key(key) => (Some(line), record.key(key)),
            To::Partition(partition) => (Some(line), record.partition(partition)),
        };
        records.push(Noted { line, said: Said::Nothing });
        (number, record)
    }

    fn say(&self, number: usize, said: Said) {
        let before = std::mem::replace(&mut self.records()[number].said, said);
        self.0.case.always(before == Said::Nothing, "a record has one outcome");
    }

    pub(crate) fn unsent(&self, number: usize) {
        self.say(number, Said::Unsent);
    }

    pub(crate) fn unheard(&self, number: usize) {
        self.say(number, Said::Unheard);
    }

    /// A record that comes back is the one that was given.
    fn came_back(&self, number: usize, record: Option<&Record<'_>>) {
        let payload = record.and_then(Record::get_payload);
        self.0.case.always(payload == Some(number.to_string().as_bytes()), "a record comes back as it was");
    }

    fn failed(&self, number: usize, status: Status, record: Option<&Record<'_>>) {
        // What the client has when its time is over stays with the client.
        if record.is_some() || status == Status::NotPersisted {
            self.came_back(number, record);
        }
        self.0.case.always(status != Status::Persisted, "the simulated client never fails what is persisted");
        self.say(number, if status == Status::NotPersisted { Said::Unsent } else { Said::Doubtful });
    }

    pub(crate) fn returned(&self, number: usize, record: &Record<'_>) {
        self.came_back(number, Some(record));
        self.unsent(number);
    }

    pub(crate) fn ended(&self, number: usize, outcome: &Result<DeliveryReport, DeliveryError>) {
        match outcome {
            Ok(report) => self.say(number, Said::Delivered(report.partition(), report.offset().unwrap_or(-1))),
            Err(error) => self.failed(number, error.status(), error.record()),
        }
    }

    pub(crate) fn sent(&self, number: usize, outcome: Result<DeliveryReport, SendError>) {
        match outcome {
            Ok(report) => self.ended(number, &Ok(report)),
            Err(error) => {
                let status = error.status();
                self.failed(number, status, error.into_record().as_ref());
            }
        }
    }

    pub(crate) async fn hear(&self, number: usize, delivery: Delivery) {
        self.ended(number, &delivery.await);
    }

    /// Produces a record. Returns its delivery, if it was accepted.
    pub(crate) async fn produce(&self, producer: &AioProducer, line: &str, to: To) -> Option<(usize, Delivery)> {
        let (number, record) = self.record(line, to);
        match producer.produce(record).await {
            Ok(delivery) => Some((number, delivery)),
            Err(error) => {
                self.returned(number, error.record());
                None
            }
        }
    }

    /// Produces so many records with pauses, and hears their outcomes.
    pub(crate) async fn load(self, producer: AioProducer, line: String, to: To, count: usize) {
        let sim = self.0.case.sim().clone();
        let mut accepted = Vec::new();
        for _ in 0..count {
            if sim.random(3) == 0 {
                sim.sleep(Duration::from_micros(sim.random(100_000))).await;
            }
            accepted.extend(self.produce(&producer, &line, to).await);
        }
        for (number, delivery) in accepted {
            self.hear(number, delivery).await;
        }
    }

    /// Heals the cluster, waits for what is late, and compares.
    pub(crate) async fn audit(&self) {
        let (case, producers) = (&self.0.case, self.0.producers.lock().unwrap().clone());
        case.sim().sleep(FAULTS.saturating_sub(case.sim().elapsed())).await;
        case.cluster().heal();
        for producer in &producers {
            producer.flush().await.unwrap();
        }
        case.sim().sleep(REST).await;
        for producer in &producers {
            let found = producer.statistics();
            case.always(found.stale_reports == 0, "each report finds its record");
            case.always((found.in_use, found.bytes, found.waiters) == (0, 0, 0), "all room comes back");
        }
        self.compare();
    }

    /// Compares with the logs, as they are.
    pub(crate) fn compare(&self) {
        let (case, noted) = (&self.0.case, self.records());
        let (mut seen, mut last) = (BTreeMap::new(), BTreeMap::new());
        for record in case.cluster().topic("t").records() {
            let number: usize = record.payload_str().unwrap().parse().unwrap();
            let place = (record.partition(), record.offset());
            case.always(seen.insert(number, place).is_none(), "no record is in the log twice");
            if let Some(line) = &noted[number].line {
                let before = last.insert(line, number);
                case.always(before.is_none_or(|before| before < number), "the log's order is the call order");
            }
        }
        for (number, Noted { said, .. }) in noted.iter().enumerate() {
            let place = seen.get(&number).copied();
            match said {
                Said::Nothing => case.always(false, "each accepted record has an outcome"),
                Said::Delivered(partition, offset) => {
                    case.always(place == Some((*partition, *offset)), "a delivered record is where its report says");
                }
                Said::Unsent => case.always(place.is_none(), "what is not persisted is not in the log"),
                Said::Doubtful | Said::Unheard => {}
            }
        }
    }
}
