//! S51: a seed has one trace, in each profile and with each compiler. Where a rule of the model changes on purpose, the table changes
//! with it: the test prints the new one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aioproducer_driver::Record;
use aioproducer_sim::{Case, Plan, check};

/// The hash of each seed's trace.
const HASHES: [(u64, u64); 12] = [
    (0, 0x40dfd068085169db),
    (1, 0x43ae8f6f54cd7978),
    (2, 0x19426740e01a16fc),
    (3, 0x2aa444ee9eed5799),
    (4, 0x98aabf1cb025edcf),
    (5, 0x597f68f13b869fbf),
    (6, 0x7485d2226736a843),
    (7, 0x4ef271aa999500d5),
    (8, 0x668acedb2d1fe68d),
    (9, 0x581c717e00c3a197),
    (10, 0xe2dee08056b92374),
    (11, 0xb6205b6145a4d48e),
];

/// Three tasks publish with two producers.
async fn publish(case: Case) {
    let producers = [case.producer(), case.producer()];
    let tasks: Vec<_> = (0..3_usize)
        .map(|task| {
            let (sim, producer) = (case.sim().clone(), producers[task % 2].clone());
            case.spawn(async move {
                for n in 0..20 {
                    let record =
                        Record::to("orders").key(format!("customer-{}", n % 5)).payload(format!("{task}: {n}"));
                    let _ = producer.send(record).await;
                    sim.sleep(std::time::Duration::from_micros(sim.random(100_000))).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

#[test]
fn s51_a_seed_has_the_same_trace_in_each_profile() {
    let found = Mutex::new(BTreeMap::new());
    check(Plan::swarm().topic("orders", 6).seeds(0..HASHES.len() as u64), |case| {
        let found = &found;
        async move {
            publish(case.clone()).await;
            let trace = case.cluster().trace();
            assert!(trace.len() > 100, "{trace}");
            found.lock().unwrap().insert(case.sim().seed(), trace.hash());
        }
    });
    let found = found.into_inner().unwrap();
    let table: Vec<_> = found.iter().map(|(seed, hash)| format!("    ({seed}, {hash:#018x}),\n")).collect();
    assert!(found.into_iter().eq(HASHES), "the table of this build:\n{}", table.concat());
}
