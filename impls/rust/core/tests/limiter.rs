//! The laws at the top of `limiter.rs`, held against greedy callers and floods of keys.

use std::collections::BTreeMap;

use crossfade_core::{Gcra, KeyedLimiter, RateLimitConfig};
use proptest::prelude::*;

prop_compose! {
    fn config()(
        requests in 1..10u64,
        per_ns in 1..60u64,
        burst in 1..6u64,
        max_keys in 1..6usize,
    ) -> RateLimitConfig {
        RateLimitConfig { requests, per_ns, burst, max_keys }
    }
}

/// Whether some stretch of time that ends with the last of `admitted` has seen more than a burst and the rate.
fn over(config: RateLimitConfig, admitted: &[u64]) -> bool {
    let spacing = config.per_ns.div_ceil(config.requests);
    let now_ns = admitted.last().copied().unwrap_or(0);
    (1..)
        .zip(admitted.iter().rev())
        .any(|(count, begin)| count > config.burst + (now_ns - begin) / spacing)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_request_is_refused_exactly_if_some_stretch_of_time_would_see_too_many(
        config in config(),
        gaps in prop::collection::vec(0..30u64, 1..60),
    ) {
        let mut limit = Gcra::new(config);
        let mut now_ns = 0;
        let mut admitted = vec![];
        for gap in gaps {
            now_ns += gap;
            for _ in 0..3 {
                admitted.push(now_ns);
                prop_assert_eq!(limit.peek(now_ns) > 0, over(config, &admitted), "law 1");
                let wait_ns = limit.admit(now_ns);
                if wait_ns > 0 {
                    admitted.pop();
                    prop_assert_eq!(limit.peek(now_ns + wait_ns - 1), 1, "law 2: not earlier");
                    prop_assert_eq!(limit.peek(now_ns + wait_ns), 0, "law 2: then surely");
                }
            }
        }
    }

    #[test]
    fn a_key_pays_for_itself_alone_and_is_forgiven_only_in_a_crowd(
        config in config(),
        asked in prop::collection::vec((0..20u64, 0..10u64), 1..100),
    ) {
        let mut limiter = KeyedLimiter::new(config);
        let mut admitted = BTreeMap::<u64, Vec<u64>>::new();
        let mut now_ns = 0;
        for (gap, key) in asked {
            now_ns += gap;
            let crowded = admitted.len() > config.max_keys;
            let own = admitted.entry(key).or_default();
            own.push(now_ns);
            let too_many = over(config, own);
            let refused = limiter.peek(now_ns, key) > 0;
            prop_assert_eq!(limiter.admit(now_ns, key) > 0, refused);
            prop_assert!(refused == too_many || (crowded && too_many), "law 4");
            if refused {
                own.pop();
            }
            prop_assert!(limiter.size() <= config.max_keys);
        }
    }
}

#[test]
fn a_flood_of_keys_leaves_no_memory_behind_beyond_the_bound() {
    let mut limiter = KeyedLimiter::new(RateLimitConfig {
        max_keys: 100,
        ..RateLimitConfig::default()
    });
    for key in 0..100_000 {
        limiter.admit(0, key);
    }
    assert_eq!(limiter.size(), 100);
    let held = format!("{limiter:?}").len();
    assert!(held < 30_000, "{held} characters for 100 keys");
}
