//! The laws at the top of `retry.rs`, `hedge.rs` and `sketch.rs`: budgets hold whatever fails, the percentile is real.

use crossfade_core::hedge::BURST;
use crossfade_core::sketch::{EVERY, FULL};
use crossfade_core::{Hedge, HedgeConfig, LatencySketch, Retry, RetryConfig};
use proptest::prelude::*;

prop_compose! {
    fn retry_config()(
        attempts in 1..7u64,
        base_ns in 1..50u64,
        cap_ns in 1..300u64,
        budget_per_mille in 0..=1000u64,
        budget_burst in 1..6u64,
    ) -> RetryConfig {
        RetryConfig { attempts, base_ns, cap_ns, budget_per_mille, budget_burst }
    }
}

fn latency() -> impl Strategy<Value = u64> {
    prop_oneof![0..100u64, 0..1_000_000u64, 0..1u64 << 40]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_outage_makes_more_retries_than_the_budget(
        config in retry_config(),
        seed: u64,
        failing in prop::collection::vec(0..8u64, 0..60),
    ) {
        let mut retry = Retry::new(config, seed);
        let mut retries = 0;
        for (requests, failures) in (1..).zip(failing) {
            retry.request();
            let mut made = 1;
            while made <= failures {
                let Some(wait_ns) = retry.next(made) else {
                    prop_assert!(made >= config.attempts || retry.budget_milli() < 1000, "refused without a reason");
                    break;
                };
                prop_assert!(wait_ns <= config.cap_ns.min(config.base_ns << (made - 1)), "law 3");
                made += 1;
                retries += 1;
            }
            prop_assert!(made <= config.attempts, "law 1");
            prop_assert!(retries * 1000 <= config.budget_burst * 1000 + requests * config.budget_per_mille, "law 2");
        }
        let before = retry.budget_milli();
        let mut untouched = retry.clone();
        prop_assert_eq!(retry.next(config.attempts), None);
        prop_assert_eq!(retry.budget_milli(), before, "law 4");
        prop_assert_eq!(retry.next(1), untouched.next(1), "law 4: a refusal drew from the stream");
    }

    #[test]
    fn hedges_are_never_more_than_their_share(
        per_mille in 1..=1000u64,
        greed in prop::collection::vec(0..4u64, 0..200),
        quiet in 0..3000u64,
    ) {
        let mut hedge = Hedge::new(HedgeConfig { delay_ns: 1, per_mille });
        let mut hedges = 0;
        for (requests, wanted) in (1..).zip(greed) {
            hedge.request();
            hedges += (0..wanted).filter(|_| hedge.try_start()).count() as u64;
            prop_assert!(hedges * 1000 <= requests * per_mille, "law 1");
        }
        while hedge.try_start() {}
        (0..quiet).for_each(|_| hedge.request());
        let saved = (0..2 * BURST).filter(|_| hedge.try_start()).count() as u64;
        prop_assert!(saved <= BURST, "law 2");
    }

    #[test]
    fn the_delay_is_the_95th_percentile_to_a_sixteenth(samples in prop::collection::vec(latency(), 32..FULL as usize)) {
        let mut hedge = Hedge::new(HedgeConfig::default());
        let known = samples.len() / EVERY as usize * EVERY as usize;
        for &latency_ns in &samples {
            hedge.record(latency_ns);
        }
        let mut ranked = samples[..known].to_vec();
        ranked.sort_unstable();
        let p95 = ranked[(known * 95).div_ceil(100) - 1];
        let delay_ns = hedge.delay_ns().expect("32 samples are enough");
        prop_assert!(p95 <= delay_ns && delay_ns <= p95 + p95 / 16, "{p95} became {delay_ns}");
    }

    #[test]
    fn what_was_before_is_forgotten(before in latency(), after in latency(), samples in 1..3 * FULL) {
        let mut sketch = LatencySketch::default();
        (0..samples).for_each(|_| sketch.record(before));
        (0..3 * FULL).for_each(|_| sketch.record(after));
        let p95 = sketch.p95_ns().expect("enough samples");
        prop_assert!(after <= p95 && p95 <= after + after / 16);
    }
}

#[test]
fn any_latency_has_a_bucket() {
    let mut sketch = LatencySketch::default();
    for bits in 0..=u64::BITS {
        let edge = 1u64.checked_shl(bits).unwrap_or(0);
        for latency_ns in [edge.wrapping_sub(1), edge, edge.wrapping_add(1)] {
            sketch.record(latency_ns);
        }
    }
    assert!(sketch.p95_ns().is_some_and(|p95| p95 < 1 << 40));
}
