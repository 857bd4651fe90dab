//! A server that was missing in a list: who got that list is told when the server is back.
//!
//! The rule: it is back when it can be listed again, which is tried later and later, and only while somebody listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FIRST, MOST, changes, jittered};
use crate::listing;
use crate::upstream::{Caller, Server};

/// How long a server may take for the list that shows that it is back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Never resolves.
pub(super) async fn run(server: &Arc<Server>) {
    loop {
        changes(server, || server.interest.missing().is_some()).await;
        let mut pause = FIRST;
        while let Some(kind) = server.interest.missing() {
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(MOST);
            let deadline = server.deadline(None).min(Instant::now() + PATIENCE);
            let listed = listing::read(server, kind, false, Caller::default(), deadline);
            if listed.await.is_ok() {
                server.interest.found();
                server.out_of_sight();
            }
        }
    }
}
