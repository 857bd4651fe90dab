//! Cost of one policy operation in nanoseconds: `cargo bench -p crossfade-core`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossfade_core::bench_ops::{OPS, prepare};
use crossfade_core::{BreakerConfig, SharedBreaker};

const ITERATIONS: u64 = 1000;

fn shared_breaker(criterion: &mut Criterion) {
    let breaker = SharedBreaker::new(BreakerConfig::default());
    let mut now_ns = 0;
    criterion.bench_function("shared_breaker/admit", |bencher| {
        bencher.iter(|| breaker.admit(black_box(1)));
    });
    criterion.bench_function("shared_breaker/record", |bencher| {
        bencher.iter(|| {
            now_ns += 1000;
            breaker.record(now_ns, true, 1000);
        });
    });
}

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

criterion_group!(benches, policy_ops, shared_breaker);
criterion_main!(benches);
