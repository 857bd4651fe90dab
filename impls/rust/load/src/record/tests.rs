use super::*;

const S: u64 = 1_000_000_000;

fn ended(due_ns: u64, end_ns: u64, verdict: Result<(), Kind>) -> Ended {
    Ended {
        due_ns,
        sent_ns: due_ns,
        end_ns,
        verdict,
        method: Method::Call,
        events: 0,
    }
}

#[test]
fn the_window_is_of_due_times_when_open_and_of_answers_when_closed() {
    for (open, completed) in [(true, 2), (false, 2)] {
        let mut recorder = Recorder::new(open, S, 2 * S);
        recorder.ended(ended(S - 1, S + 5, Ok(()))); // due before, answered inside
        recorder.ended(ended(S + 1, S + 6, Ok(()))); // inside
        recorder.ended(ended(2 * S - 1, 2 * S + 1, Ok(()))); // due inside, answered after
        recorder.ended(ended(2 * S, 2 * S + 1, Ok(()))); // after
        let outcome = recorder.outcome(0).unwrap();
        assert_eq!(outcome.completed, completed);
        assert!((outcome.throughput_per_s - 2.0).abs() < 1e-9);
        assert_eq!(
            outcome.series.iter().map(|bin| bin.completed).sum::<u64>(),
            2
        );
    }
}

#[test]
fn silence_leaves_empty_bins_not_missing_ones() {
    let mut recorder = Recorder::new(false, 0, S);
    recorder.ended(ended(0, 10_000_000, Ok(())));
    recorder.ended(ended(0, 950_000_000, Err(Kind::Timeout)));
    let outcome = recorder.outcome(0).unwrap();
    assert_eq!(outcome.series.len(), 10);
    assert_eq!(
        (outcome.series[0].completed, outcome.series[5].completed),
        (1, 0)
    );
    assert_eq!(
        (outcome.series[9].errors, outcome.errors["timeout"]),
        (1, 1)
    );
    assert!((outcome.series[0].p50_us - 10_000.0).abs() < 1e-9);
}
