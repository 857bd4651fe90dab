//! What a deployment shows: its state, and how far it has come.

use serde::Serialize;

use crate::config::Strategy;

/// Where the deployment of a server stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    Pending,
    Starting,
    Running,
    Updating,
    Scaling,
    Stopping,
    Stopped,
    Failed,
    RolledBack,
}

impl DeploymentState {
    /// The name in events and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Updating => "updating",
            Self::Scaling => "scaling",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// A snapshot of one server's deployment, as `crossfade.impls.snapshots.DeploymentInfo`.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentInfo {
    pub name: String,
    pub state: DeploymentState,
    pub revision: u32,
    pub desired: usize,
    pub ready: usize,
    pub strategy: Option<Strategy>,
    pub candidate: Option<u32>,
    pub share_percent: u8,
    pub samples: u64,
    pub failures: u64,
    pub previous: Option<u32>,
    pub message: Option<String>,
}

/// How far the update under way has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) desired: usize,
    pub(crate) share_percent: u8,
    pub(crate) samples: u64,
    pub(crate) failures: u64,
}
