//! Every order in which threads can record, merge and read, as loom explores them, its memory model included.
//!
//! Rule: the table is a small one here, the code the same.

use loom::sync::Arc;
use loom::thread;

use super::Histogram;

fn recording(histogram: &Arc<Histogram>, value_ns: u64) -> thread::JoinHandle<()> {
    let histogram = Arc::clone(histogram);
    thread::spawn(move || histogram.record(value_ns))
}

#[test]
fn no_order_of_threads_loses_a_latency_or_the_longest() {
    loom::model(|| {
        let histogram = Arc::new(Histogram::default());
        let other = recording(&histogram, 9);
        histogram.record(5);
        other.join().unwrap();
        let found = histogram.summary();
        assert_eq!((found.count, found.mean, found.max), (2, 7, 9));
        assert_eq!((found.p50, histogram.below(3)), (5, 1));
    });
}

#[test]
fn who_reads_beside_a_recording_sees_no_latency_twice_and_none_disappear() {
    loom::model(|| {
        let histogram = Arc::new(Histogram::default());
        histogram.record(2);
        let other = recording(&histogram, 9);
        let first = histogram.count();
        let longest = histogram.quantile_ns(1000);
        let second = histogram.count();
        assert!(1 <= first && first <= second && second <= 2);
        assert!((2..=9).contains(&longest), "{longest} was never recorded");
        other.join().unwrap();
        assert_eq!(histogram.count(), 2);
    });
}

#[test]
fn a_merge_beside_a_recording_takes_each_latency_once_or_not_yet() {
    loom::model(|| {
        let (total, server) = (Histogram::default(), Arc::new(Histogram::default()));
        server.record(3);
        let other = recording(&server, 7);
        total.add(&server);
        assert!((1..=2).contains(&total.count()));
        other.join().unwrap();
        let (after, all) = (Histogram::default(), server.summary());
        after.add(&server);
        assert_eq!(after.summary(), all);
        assert_eq!((all.count, all.max), (2, 7));
    });
}
