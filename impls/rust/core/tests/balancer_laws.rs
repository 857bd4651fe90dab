//! The laws at the top of the balancers, held against random masks, weights and keys.

use crossfade_core::balancer::Balance;
use crossfade_core::{Balancer, LeastPending, Mask, P2c, Rendezvous, RoundRobin, Weighted};
use proptest::prelude::*;

fn usable(words: &[u64], i: usize) -> bool {
    words
        .get(i / 64)
        .is_some_and(|word| word >> (i % 64) & 1 == 1)
}

fn without(n: usize, gone: usize) -> Mask {
    let mut mask = Mask::all(n);
    mask.set(gone, false);
    mask
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn only_a_usable_instance_is_ever_picked(
        n in 0..150usize, words in prop::collection::vec(any::<u64>(), 0..4), seed: u64,
    ) {
        let all: Vec<usize> = (0..n).filter(|&i| usable(&words, i)).collect();
        let balancers = [
            Balancer::RoundRobin(RoundRobin::new(n)),
            Balancer::Weighted(Weighted::new(&vec![3; n])),
            Balancer::LeastPending(LeastPending::new(n)),
            Balancer::P2c(P2c::new(n, seed)),
            Balancer::Rendezvous(Rendezvous::new(n)),
        ];
        for mut balancer in balancers {
            for turn in 0..5 {
                let picked = balancer.pick(0, &words, seed ^ turn);
                prop_assert_eq!(picked.is_some(), !all.is_empty());
                prop_assert!(picked.is_none_or(|i| all.contains(&i)));
            }
        }
        let mut turns = RoundRobin::new(n);
        let seen: Vec<usize> = all.iter().filter_map(|_| turns.pick(0, &words, 0)).collect();
        prop_assert_eq!(seen, all, "round robin serves everybody once a turn");
    }

    #[test]
    fn over_full_cycles_each_instance_gets_exactly_its_weight(
        weights in prop::collection::vec(0..9u32, 1..12), cycles in 1..4u32,
    ) {
        let mut balancer = Weighted::new(&weights);
        let all = Mask::all(weights.len());
        let mut picked = vec![0; weights.len()];
        for _ in 0..cycles * weights.iter().sum::<u32>() {
            picked[balancer.pick(0, all.words(), 0).expect("weights are left")] += 1;
        }
        let due: Vec<u32> = weights.iter().map(|weight| weight * cycles).collect();
        prop_assert_eq!(picked, due);
    }

    #[test]
    fn least_pending_never_lets_two_differ_by_more_than_one_call(n in 1..130usize, calls in 0..400usize) {
        let mut balancer = LeastPending::new(n);
        let all = Mask::all(n);
        for _ in 0..calls {
            let i = balancer.pick(0, all.words(), 0).expect("all are usable");
            balancer.started(i);
        }
        let pending = || (0..n).map(|i| balancer.pending(i));
        prop_assert!(pending().max() <= pending().min().map(|least| least + 1));
    }

    #[test]
    fn only_the_keys_of_an_instance_that_goes_move(
        n in 2..70usize, gone in 0..70usize, keys in prop::collection::vec(any::<u64>(), 0..60),
    ) {
        let mut balancer = Rendezvous::new(n);
        let (all, rest) = (Mask::all(n), without(n, gone % n));
        for key in keys {
            let before = balancer.pick(0, all.words(), key);
            let after = balancer.pick(0, rest.words(), key);
            prop_assert_eq!(before == after, before != Some(gone % n));
            prop_assert_eq!(balancer.pick(0, all.words(), key), before, "it came back, and its keys with it");
        }
    }

    #[test]
    fn a_new_instance_moves_no_key_between_the_old_ones(
        n in 1..70usize, keys in prop::collection::vec(any::<u64>(), 0..60),
    ) {
        let (mut old, mut new) = (Rendezvous::new(n), Rendezvous::new(n));
        new.resize(n + 1);
        for key in keys {
            let found = new.pick(0, Mask::all(n + 1).words(), key);
            prop_assert!(found == Some(n) || found == old.pick(0, Mask::all(n).words(), key));
        }
    }

    #[test]
    fn a_mask_holds_what_it_was_told(n in 0..200usize, off in 0..200usize) {
        let mut mask = Mask::all(n);
        prop_assert!((0..256).all(|i| mask.get(i) == (i < n)));
        mask.set(off, false);
        prop_assert!((0..256).all(|i| mask.get(i) == (i < n && i != off)));
        mask.set(off, true);
        prop_assert!(mask.get(off));
    }
}
