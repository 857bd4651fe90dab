//! The two ends of an instance's service: the health gate before its first call, and the drain after its last one.
//!
//! The rule: nobody is called before the gate, and nobody is closed while a call is with it, but for the drain's limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::ServerSpec;
use crate::error::{Error, Result};
use crate::upstream::{Instance, Revision, Server};

/// Between a failed probe and the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the instance and probes it until `health.healthyAfter` probes in a row were answered; fails if it does not
/// start, or after `health.unhealthyAfter` failed probes in a row. How long all of it may take is for the caller to say.
pub(super) async fn pass(spec: &ServerSpec, instance: &Instance) -> Result<()> {
    let health = &spec.health;
    let patience = Duration::from_millis(health.timeout_ms);
    instance
        .link
        .ready(Instant::now() + Duration::from_millis(spec.start_timeout_ms))
        .await?;
    let (mut good, mut bad) = (0, 0);
    while good < health.healthy_after {
        match instance.link.probe(Instant::now() + patience).await {
            Ok(()) => (good, bad) = (good + 1, 0),
            Err(error) => {
                (good, bad) = (0, bad + 1);
                if bad >= health.unhealthy_after {
                    return Err(Error::ServerStart {
                        message: format!(
                            "server '{}' started and then failed {bad} probes in a row ({error}); look at the server, or raise health.timeoutMs",
                            spec.name
                        ),
                        server: spec.name.clone(),
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

/// Waits until the calls of a retired instance have ended, at most `within`; then closes it for good. `keep` keeps its
/// storage for the instance that comes after it; `None` does what its claim says.
pub(super) async fn drain(
    server: &Server,
    revision: &Revision,
    instance: &Arc<Instance>,
    within: Duration,
    keep: Option<bool>,
) {
    instance.drained(within).await;
    instance.link.close().await;
    revision.forget(instance);
    server.release(instance, keep).await;
}
