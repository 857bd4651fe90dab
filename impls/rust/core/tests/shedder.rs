//! The laws at the top of `shedder.rs`, held against random waits and askers.

use crossfade_core::{ShedConfig, Shedder};
use proptest::prelude::*;

prop_compose! {
    fn config()(
        max_in_flight in prop_oneof![Just(0usize), Just(3)],
        target_ns in 1..6u64,
        interval_ns in 1..30u64,
    ) -> ShedConfig {
        ShedConfig { max_in_flight, target_ns, interval_ns }
    }
}

/// Since when all waits have reached the target, with no interval in which none ended: the evidence of law 2.
fn standing_since(config: ShedConfig, waits: &[(u64, u64)], now_ns: u64) -> u64 {
    let mut since = now_ns;
    for &(at, delay_ns) in waits.iter().rev() {
        if delay_ns < config.target_ns || since - at >= config.interval_ns {
            break;
        }
        since = at;
    }
    since
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn only_a_standing_queue_or_a_full_house_sheds(
        config in config(),
        events in prop::collection::vec((0..6u64, any::<bool>(), 0..9u64), 0..200),
    ) {
        let mut shedder = Shedder::new(config);
        let mut now_ns = 0;
        let mut waits: Vec<(u64, u64)> = vec![];
        for (elapsed, asks, amount) in events {
            now_ns += elapsed;
            if !asks {
                let delay_ns = if amount < 8 { config.target_ns + amount } else { 0 };
                shedder.waited(now_ns, delay_ns);
                waits.push((now_ns, delay_ns));
                continue;
            }
            let in_flight = usize::from(amount > 7) * 3;
            let admitted = shedder.admit(now_ns, in_flight);
            if config.max_in_flight > 0 && in_flight >= config.max_in_flight {
                prop_assert!(!admitted, "law 1");
            } else if !admitted {
                let since = standing_since(config, &waits, now_ns);
                prop_assert!(now_ns - since >= config.interval_ns, "law 2");
            }
        }
        shedder.waited(now_ns, config.target_ns - 1);
        prop_assert!(shedder.admit(now_ns + 1, 0) && !shedder.shedding(), "law 4");
    }

    #[test]
    #[allow(clippy::cast_precision_loss)] // small numbers
    fn the_pace_of_shedding_rises_with_the_root_of_what_was_shed(interval_ns in 1000..5000u64) {
        let mut shedder = Shedder::new(ShedConfig { max_in_flight: 0, target_ns: 5, interval_ns });
        let shed_at: Vec<u64> = (0..interval_ns * 12)
            .filter(|&now_ns| {
                shedder.waited(now_ns, 5);
                !shedder.admit(now_ns, 0)
            })
            .collect();
        prop_assert_eq!(shed_at[0], interval_ns);
        for (number, pair) in (1u32..).zip(shed_at.windows(2)) {
            let expected = interval_ns as f64 / f64::from(number).sqrt();
            prop_assert!(((pair[1] - pair[0]) as f64 - expected).abs() <= 1.0 + interval_ns as f64 / 2000.0, "law 3");
        }
    }
}
