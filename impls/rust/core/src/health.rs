//! Owns what verdicts in a row make of an instance: healthy or not, with hysteresis.
//!
//! The laws:
//!
//! 1. It starts healthy. `unhealthy_after` bad verdicts in a row turn it, `healthy_after` good ones turn it back.
//! 2. A verdict that agrees with the state breaks the streak against it: what flickers stays what it is.

/// How many equal verdicts in a row turn the state; 0 counts as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct HealthConfig {
    pub unhealthy_after: u64,
    pub healthy_after: u64,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// The health of one instance.
#[derive(Debug, Clone)]
pub struct Health {
    config: HealthConfig,
    against: u64,
    healthy: bool,
}

impl Health {
    pub const fn new(config: HealthConfig) -> Self {
        Self {
            config,
            against: 0,
            healthy: true,
        }
    }

    /// One verdict, of a probe or of a call. `true` if it turned the state.
    pub const fn record(&mut self, ok: bool) -> bool {
        if ok == self.healthy {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if ok {
            self.config.healthy_after
        } else {
            self.config.unhealthy_after
        };
        if self.against < needed {
            return false;
        }
        self.against = 0;
        self.healthy = ok;
        true
    }

    pub const fn healthy(&self) -> bool {
        self.healthy
    }
}
