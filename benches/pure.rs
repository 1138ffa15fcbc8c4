//! Measures the pure parts of the delivery path: `cargo bench --bench pure`.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark may panic")]

mod paths;

use criterion::{Criterion, criterion_group, criterion_main};

fn all(criterion: &mut Criterion) {
    for (name, path) in paths::PATHS {
        criterion.bench_function(name, |bencher| bencher.iter(path()));
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
