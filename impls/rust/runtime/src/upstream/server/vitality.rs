//! What is known of an instance's health, from its calls, its probes, and what its transport finds out.
//!
//! The rule: two different things make it unhealthy. A *fact* (it cannot be reached, its circuit is open) holds from now
//! until something good is heard. *Verdicts* on calls and probes turn the state only after several equal ones in a row
//! (`health`), so that one failed call is no event.

use crossfade_core::{Health, HealthConfig};

use crate::config::HealthSpec;
use crate::info::ServerState;

/// What was heard of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// A call or probe was answered.
    Answer,
    /// A call or probe failed.
    Failure,
    /// It cannot be used right now.
    Down,
    /// It was started anew, or somebody asked on purpose and it answered: what was before does not count.
    Renewed,
}

/// The health of one instance.
#[derive(Clone, Debug)]
pub(super) struct Vitality {
    config: HealthConfig,
    verdicts: Health,
    down: bool,
    /// Anything was heard.
    known: bool,
}

impl Vitality {
    pub(super) fn new(spec: &HealthSpec) -> Self {
        let config = HealthConfig {
            unhealthy_after: u64::from(spec.unhealthy_after),
            healthy_after: u64::from(spec.healthy_after),
        };
        Self {
            config,
            verdicts: Health::new(config),
            down: false,
            known: false,
        }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.verdicts = Health::new(self.config);
        self.down = false;
        self.known = false;
    }

    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    pub(super) fn state(&self) -> ServerState {
        match (self.known, !self.down && self.verdicts.healthy()) {
            (false, _) => ServerState::Initializing,
            (true, true) => ServerState::Healthy,
            (true, false) => ServerState::Unhealthy,
        }
    }

    /// Takes it in; true if it changed the state.
    pub(super) fn hear(&mut self, heard: Heard) -> bool {
        let before = self.state();
        match heard {
            Heard::Answer => {
                self.verdicts.record(true);
                self.down = false;
            }
            Heard::Failure => {
                self.verdicts.record(false);
            }
            Heard::Down => {
                self.verdicts.record(false);
                self.down = true;
            }
            Heard::Renewed => self.reset(),
        }
        self.known = true;
        self.state() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_turns_the_state_at_once_and_verdicts_do_in_a_row() {
        let mut vitality = Vitality::new(&HealthSpec::default());
        assert_eq!(vitality.state(), ServerState::Initializing);
        assert!(vitality.hear(Heard::Answer));
        assert!(!vitality.hear(Heard::Failure) && !vitality.hear(Heard::Failure));
        assert!(!vitality.hear(Heard::Answer));
        assert!(!vitality.hear(Heard::Failure) && !vitality.hear(Heard::Failure));
        assert!(vitality.hear(Heard::Failure));
        assert!(!vitality.hear(Heard::Answer) && vitality.hear(Heard::Answer));
        assert!(vitality.hear(Heard::Down) && vitality.hear(Heard::Answer));
        assert!(vitality.hear(Heard::Down) && vitality.hear(Heard::Renewed));
    }
}
