//! The laws at the top of `health.rs` and `restart.rs`, held against random lives.

use crossfade_core::{Health, HealthConfig, Restart, RestartConfig};
use proptest::prelude::*;

prop_compose! {
    fn restart_config()(
        base_ns in 1..20u64,
        cap_ns in 1..200u64,
        reset_after_ns in 1..50u64,
        max_restarts in 0..7usize,
        window_ns in 1..400u64,
    ) -> RestartConfig {
        RestartConfig { base_ns, cap_ns, reset_after_ns, max_restarts, window_ns }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn only_a_long_enough_streak_turns_health(
        unhealthy_after in 1..6u64, healthy_after in 1..6u64, verdicts in prop::collection::vec(any::<bool>(), 0..80),
    ) {
        let mut health = Health::new(HealthConfig { unhealthy_after, healthy_after });
        let (mut healthy, mut streak, mut last) = (true, 0, true);
        for ok in verdicts {
            streak = if ok == last { streak + 1 } else { 1 };
            last = ok;
            let turns = ok != healthy && streak == if ok { healthy_after } else { unhealthy_after };
            healthy ^= turns;
            prop_assert_eq!(health.record(ok), turns);
            prop_assert_eq!(health.healthy(), healthy);
        }
    }

    #[test]
    fn a_child_is_never_restarted_too_often_nor_too_soon(
        config in restart_config(), seed: u64, lives in prop::collection::vec((0..60u64, 0..30u64), 0..60),
    ) {
        let mut restart = Restart::new(config, seed);
        let (mut now_ns, mut exits, mut granted) = (1, 0, vec![]);
        for (uptime_ns, late_ns) in lives {
            now_ns += uptime_ns;
            let recent = granted.iter().filter(|&at| now_ns - at < config.window_ns).count();
            let Some(delay_ns) = restart.exited(now_ns, uptime_ns) else {
                prop_assert!(recent >= config.max_restarts, "law 2: given up too soon");
                prop_assert_eq!(restart.down_until_ns(), now_ns + config.window_ns);
                now_ns = restart.down_until_ns() + late_ns;
                exits = 0;
                granted.clear();
                continue;
            };
            prop_assert!(recent < config.max_restarts, "law 2: once too often");
            if uptime_ns >= config.reset_after_ns {
                exits = 0;
            }
            let whole = u128::from(config.cap_ns).min(u128::from(config.base_ns) << exits);
            let delay = u128::from(delay_ns);
            prop_assert!(whole - whole / 2 <= delay && delay <= whole, "law 1");
            prop_assert_eq!(restart.down_until_ns(), 0);
            exits += 1;
            granted.push(now_ns);
            now_ns += delay_ns + late_ns;
        }
    }
}
