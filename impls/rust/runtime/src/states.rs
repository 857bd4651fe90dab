//! Holds the states of the interface to `impls/vectors/states.json`: their words, and that each of them is a key.
//!
//! `tests/vectors/test_states.py` holds the Python ones to the same file.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::StorageClass;
use crate::deploy::DeploymentState;
use crate::info::{CircuitState, ServerState};

/// All members; one that is missing here does not compile.
macro_rules! every {
    ($kind:ident: $($member:ident)+) => {{
        let _: fn($kind) = |one| match one {
            $($kind::$member)|+ => (),
        };
        [$($kind::$member),+]
    }};
}

/// As `states.json` has them. The word on the wire is the one in events.
fn words<T: Copy + Debug + Eq + Hash + Serialize>(
    members: &[T],
    word: fn(T) -> &'static str,
) -> Value {
    let keys: HashSet<T> = members.iter().copied().collect();
    assert_eq!(keys.len(), members.len());
    for member in members {
        assert!(keys.contains(member));
        assert_eq!(json!(member), word(*member), "{member:?}");
    }
    members.iter().map(|member| word(*member)).collect()
}

#[test]
fn states_are_keys_and_have_the_words_of_python() {
    let servers = every!(ServerState: Initializing Healthy Degraded Unhealthy Maintenance Stopped);
    let circuits = every!(CircuitState: Closed Open HalfOpen);
    let deployments = every!(
        DeploymentState: Pending Starting Running Updating Scaling Stopping Stopped Failed RolledBack
    );
    let classes = every!(StorageClass: Standard Fast Nvme Network);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/states.json");
    let text = std::fs::read_to_string(path).expect("the vectors are part of the repository");
    let stored: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        json!({
            "ServerState": words(&servers, ServerState::as_str),
            "CircuitState": words(&circuits, CircuitState::as_str),
            "DeploymentState": words(&deployments, DeploymentState::as_str),
            "StorageClass": words(&classes, StorageClass::as_str),
        }),
        stored
    );
    for state in servers {
        assert_eq!(ServerState::from_u8(state as u8), state);
    }
}

#[test]
fn a_breakers_state_has_one_word_in_core_and_shell() {
    use crossfade_core::CircuitState as Core;
    let states = every!(Core: Closed Open HalfOpen);
    let words = states.map(Core::as_str);
    let shell = every!(CircuitState: Closed Open HalfOpen).map(CircuitState::as_str);
    assert_eq!(words, shell);
    assert_eq!(HashSet::from(states).len(), words.len());
}
