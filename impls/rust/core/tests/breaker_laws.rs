//! The laws at the top of `breaker.rs`, held against random callers.

use crossfade_core::{Breaker, BreakerConfig, CircuitState};
use proptest::prelude::*;

prop_compose! {
    fn breaker_config()(
        window in 1..5usize,
        window_ns in prop_oneof![Just(0), Just(25)],
        min_calls in 1..6usize,
        failure_per_mille in 1..=1000u64,
        slow_call_ns in prop_oneof![Just(0), Just(12)],
        slow_per_mille in 1..=1000u64,
        open_ns in 1..20u64,
        probes in 1..4u64,
    ) -> BreakerConfig {
        BreakerConfig {
            enabled: true, window, window_ns, min_calls, failure_per_mille, slow_call_ns, slow_per_mille, open_ns, probes,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_breaker_admits_by_its_state_and_always_lets_a_healthy_server_back(
        config in breaker_config(),
        steps in prop::collection::vec((0..3u8, 0..8usize, any::<bool>(), 0..6u64), 1..150),
    ) {
        let mut breaker = Breaker::new(config);
        let mut now_ns = 100;
        let mut began = vec![];
        for (op, pick, ok, elapsed) in steps {
            now_ns += elapsed;
            let before = breaker.state(now_ns);
            if op == 0 || began.is_empty() {
                let admitted = breaker.admit(now_ns);
                prop_assert!(before != CircuitState::Closed || admitted, "law 1: closed admits");
                prop_assert!(before != CircuitState::Open || !admitted, "law 1: open never admits");
                if admitted {
                    began.push(now_ns);
                }
            } else {
                let duration_ns = now_ns - began.swap_remove(pick % began.len());
                if op == 1 {
                    breaker.record(now_ns, ok, duration_ns);
                } else {
                    breaker.forget(now_ns, duration_ns);
                }
            }
            prop_assert_eq!(breaker.retry_after_ns(now_ns) > 0, breaker.state(now_ns) == CircuitState::Open);
        }
        now_ns += config.open_ns;
        for _ in 0..config.probes {
            if breaker.state(now_ns) != CircuitState::Closed {
                prop_assert!(breaker.admit(now_ns), "law 4: no probe for a healthy server");
                breaker.record(now_ns, true, 0);
            }
        }
        prop_assert_eq!(breaker.state(now_ns), CircuitState::Closed);
    }
}
