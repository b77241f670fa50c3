//! Where the records go: to a scripted backend, whose reports can be held back, or to a broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aioproducer_driver::AioProducer;
use aioproducer_rdkafka::EmbeddedBroker;
use aioproducer_tests::broker;
use aioproducer_tests::executor::{Host, Joined};
use aioproducer_tests::scripted::{Script, Seen};

use super::{OWN, SLOTS};

/// Where records go.
pub(crate) enum World {
    Scripted { script: Script, gate: Arc<Mutex<Gate>>, server: Joined<()> },
    Broker(EmbeddedBroker),
}

/// Which reports the scripted backend holds back, and its log.
#[derive(Default)]
pub(crate) struct Gate {
    held: Option<Held>,
    log: BTreeMap<i32, Vec<String>>,
    batches: usize,
}

struct Held {
    own_only: bool,
    records: Vec<Seen>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// Logs queued records and reports or holds them.
    fn pass(&mut self, script: &Script, records: Vec<Seen>) {
        for record in &records {
            let partition = record.partition.expect("a partition");
            self.log.entry(partition).or_default().push(record.text().to_owned());
        }
        // Reports happen under the gate's lock, so a held record has no report on its way.
        let is_held = |held: &Held, record: &Seen| !held.own_only || record.partition == Some(OWN);
        match &mut self.held {
            None => script.deliver(&records),
            Some(held) => {
                let (kept, through): (Vec<_>, _) = records.into_iter().partition(|record| is_held(held, record));
                held.records.extend(kept);
                script.deliver(&through);
            }
        }
    }
}

/// Takes batches until the end. The second half of every third batch does not fit into the queue, unless reports are held back.
fn serve(script: &Script, gate: &Arc<Mutex<Gate>>, host: &Host) -> Joined<()> {
    let (script, gate) = (script.clone(), Arc::clone(gate));
    host.spawn(async move {
        while let Some(hand) = script.next().await {
            let mut gate = lock(&gate);
            gate.batches += 1;
            let count = hand.records().len();
            // With reports held back, a full queue might never have room again.
            let refuses = gate.batches.is_multiple_of(3) && gate.held.is_none();
            let fits = if refuses { count.div_ceil(2) } else { count };
            let mut records = hand.refuse_after(fits);
            records.truncate(fits);
            gate.pass(&script, records);
        }
    })
}

impl World {
    pub(crate) fn scripted(host: &Host) -> (Self, AioProducer) {
        let (script, gate) = (Script::new(), Arc::default());
        let producer = host.start(AioProducer::builder(script.backend()).slots(SLOTS).batch_records(4));
        let server = serve(&script, &gate, host);
        (Self::Scripted { script, gate, server }, producer)
    }

    pub(crate) fn broker(host: &Host) -> (Self, AioProducer) {
        let broker = broker::start_with_topic("t", OWN + 1);
        let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(SLOTS));
        (Self::Broker(broker), producer)
    }

    /// Holds reports back. A broker cannot, so this does nothing there.
    pub(crate) fn hold(&self, own_only: bool) {
        if let Self::Scripted { gate, .. } = self {
            lock(gate).held = Some(Held { own_only, records: Vec::new() });
        }
    }

    pub(crate) fn release(&self) {
        if let Self::Scripted { script, gate, .. } = self {
            let mut gate = lock(gate);
            if let Some(held) = gate.held.take() {
                script.deliver(&held.records);
            }
        }
    }

    /// All written records, by partition.
    pub(crate) async fn log(self) -> BTreeMap<i32, Vec<String>> {
        match self {
            Self::Scripted { gate, server, .. } => {
                server.join().await;
                std::mem::take(&mut lock(&gate).log)
            }
            Self::Broker(broker) => {
                let mut log = BTreeMap::<i32, Vec<String>>::new();
                for logged in broker::read_back(&broker, "t", OWN + 1) {
                    log.entry(logged.partition).or_default().push(logged.text().to_owned());
                }
                log
            }
        }
    }
}
