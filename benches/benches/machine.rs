//! Time per record of the state machine alone, from produce to completed.
//!
//! ```sh
//! cargo bench -p aioproducer-benches --bench machine
//! ```

use std::time::Duration;

use aioproducer_benches::workload::{CASES, IN_FLIGHT, Workload};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn machine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(IN_FLIGHT as u64));
    group.sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for case in CASES {
        group.bench_function(case.name, |bencher| {
            let mut workload = Workload::warm(case);
            bencher.iter(|| workload.run(IN_FLIGHT));
        });
    }
    group.finish();
}

criterion_group!(benches, machine);
criterion_main!(benches);
