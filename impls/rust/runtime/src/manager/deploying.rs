//! The manager's calls that change what is deployed; what each change does is in `deploy`.
//!
//! The rule: whatever is refused is refused before anything was started.

use std::sync::Arc;
use std::time::Duration;

use super::Manager;
use crate::config::{ServerSpec, Strategy, TransportKind};
use crate::deploy::{DeploymentInfo, check_replicas, strategy_of};
use crate::error::{Error, Result};

fn config(message: String) -> Error {
    Error::Config { message }
}

impl Manager {
    /// Registers `spec` and returns when all its instances are healthy; on failure nothing is kept.
    pub async fn deploy(&self, spec: ServerSpec) -> Result<DeploymentInfo> {
        self.inner.check_open()?;
        check_replicas(&spec.name, spec.replicas() as u64)?;
        let server = self.inner.enlist(spec).await?;
        // All at once: there is nobody whose calls a surge could disturb.
        let first = Some(Arc::clone(&self.inner));
        server
            .roll_out(server.spec(), Strategy::BlueGreen, None, first)
            .await?;
        Ok(server.deployment_info())
    }

    /// Replaces the running revision of `spec.name` without losing a call. Dropping the future rolls back.
    pub async fn update(&self, spec: ServerSpec, strategy: Option<&str>) -> Result<DeploymentInfo> {
        self.inner.check_open()?;
        let strategy = strategy_of(strategy, &spec)?;
        check_replicas(&spec.name, spec.replicas() as u64)?;
        self.replace(Arc::new(spec), strategy, None).await
    }

    async fn replace(
        &self,
        spec: Arc<ServerSpec>,
        strategy: Strategy,
        number: Option<u32>,
    ) -> Result<DeploymentInfo> {
        let server = self.inner.registry.get(&spec.name)?;
        let (is, wanted) = (server.spec().transport(), spec.transport());
        if is != wanted {
            return Err(config(format!(
                "server '{}' runs on {} and an update cannot make it {}; undeploy it and deploy anew, or use another name",
                spec.name,
                is.as_str(),
                wanted.as_str()
            )));
        }
        server.check_idle()?;
        if let Some(claim) = &spec.storage {
            let more = extra(&server.fleet().current.spec_now(), &spec, strategy);
            let storage = &self.inner.shared.storage;
            storage.check(&spec.name, claim, more)?;
        }
        server.roll_out(spec, strategy, number, None).await?;
        Ok(server.deployment_info())
    }

    /// Starts or drains instances of a command.
    pub async fn scale(&self, name: &str, instances: u64) -> Result<DeploymentInfo> {
        self.inner.check_open()?;
        let server = self.inner.registry.get(name)?;
        let count = check_replicas(name, instances)?;
        server.check_idle()?;
        let spec = server.spec();
        if spec.transport() == TransportKind::Http {
            return Err(config(format!(
                "server '{name}' has one instance per URL; update its urls instead"
            )));
        }
        if !spec.weights.is_empty() {
            return Err(config(format!(
                "server '{name}' has a weight for each instance; update its specification"
            )));
        }
        if let Some(claim) = &spec.storage {
            let more = count.saturating_sub(server.fleet().current.room());
            self.inner.shared.storage.check(name, claim, more)?;
        }
        server.scale_to(count).await?;
        Ok(server.deployment_info())
    }

    /// Aborts the update that runs, or else updates to the previous revision.
    pub async fn rollback(&self, name: &str) -> Result<DeploymentInfo> {
        self.inner.check_open()?;
        let server = self.inner.registry.get(name)?;
        if server.deployment.abort().await {
            return Ok(server.deployment_info());
        }
        server.check_idle()?;
        let Some((number, spec)) = server.deployment.previous() else {
            return Err(Error::DeploymentFailed {
                message: format!(
                    "server '{name}' has no revision before {}; update it instead",
                    server.fleet().current.number
                ),
                server: name.to_owned(),
            });
        };
        let strategy = spec.deploy.strategy;
        self.replace(spec, strategy, Some(number)).await
    }

    /// Unregisters, and releases or keeps the storage; `None` does what the claim says.
    pub async fn undeploy(&self, name: &str, drain: Duration, keep: Option<bool>) -> Result<()> {
        self.inner.check_open()?;
        self.inner.dismiss(name, drain, keep).await
    }

    /// Waits until no change of this server is under way.
    pub async fn settled(&self, name: &str) {
        if let Ok(server) = self.inner.registry.get(name) {
            server.deployment.settled().await;
        }
    }

    /// One snapshot per registered server, in order of registration.
    pub fn deployments(&self) -> Vec<DeploymentInfo> {
        let snapshot = self.inner.registry.load();
        let servers = snapshot.servers.iter();
        servers.map(|server| server.deployment_info()).collect()
    }
}

/// How many more instances there are at most, at once, while `new` replaces `old`.
fn extra(old: &ServerSpec, new: &ServerSpec, strategy: Strategy) -> usize {
    let (Some(is), Some(wanted)) = (&old.storage, &new.storage) else {
        return new.replicas();
    };
    if is.storage_class != wanted.storage_class {
        return new.replicas();
    }
    let most = old.replicas().max(new.replicas());
    match strategy {
        Strategy::Recreate => most - old.replicas(),
        Strategy::Rolling => {
            (most + new.deploy.max_surge as usize - old.replicas()).min(new.replicas())
        }
        _ => new.replicas(),
    }
}
