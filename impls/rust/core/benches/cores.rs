//! Cost of one policy operation in nanoseconds: `cargo bench -p crossfade-core`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossfade_core::bench_ops::{OPS, prepare};

const ITERATIONS: u64 = 1000;

fn policy_ops(criterion: &mut Criterion) {
    for &op in OPS {
        let mut group = criterion.benchmark_group(op);
        group.throughput(Throughput::Elements(ITERATIONS));
        for size in [1, 16, 256] {
            let mut run = prepare(op, ITERATIONS, size).expect("OPS lists what prepare knows");
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(&mut run);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, policy_ops);
criterion_main!(benches);
