//! Sixteen threads register, remove and read at once; what each of them knows of its own servers must be what is there.
//!
//! Rule: a snapshot is judged as a whole: whoever is in it is found by name, and nobody is in it twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Manager;
use crate::config::{Config, ServerSpec};
use crate::registry::Registry;
use crate::upstream::{Server, Shared};

const THREADS: usize = 16;
const ROUNDS: usize = 60;

fn server(name: String, shared: &Arc<Shared>) -> Arc<Server> {
    let spec = ServerSpec {
        name,
        command: Some("true".to_owned()),
        ..ServerSpec::default()
    };
    Server::new(spec, Arc::clone(shared), 1, false)
}

fn judge(registry: &Registry) {
    let snapshot = registry.load();
    let names: HashSet<&str> = snapshot
        .servers
        .iter()
        .map(|server| server.name())
        .collect();
    assert_eq!(names.len(), snapshot.servers.len(), "a name is there twice");
    for name in names {
        assert_eq!(snapshot.get(name).map(|server| server.name()), Some(name));
    }
}

#[test]
fn sixteen_threads_lose_no_registration_and_share_no_name() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let manager = Manager::new(Config::default(), runtime.handle().clone());
    let (registry, shared) = (&manager.inner.registry, &manager.inner.shared);
    let winners: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let winners = &winners;
            scope.spawn(move || {
                for (round, winners) in winners.iter().enumerate() {
                    let own = format!("own-{number}-{round}");
                    registry
                        .add(server(own.clone(), shared))
                        .expect("nobody else takes this name");
                    assert!(registry.get(&own).is_ok(), "lost at once");
                    let contested = registry.add(server(format!("contested-{round}"), shared));
                    winners.fetch_add(usize::from(contested.is_ok()), Ordering::SeqCst);
                    judge(registry);
                    if round % 2 == 0 {
                        let removed = registry.remove(&own).expect("nobody else removes it");
                        assert_eq!(removed.name(), own);
                        assert!(registry.get(&own).is_err(), "removed, and still there");
                    }
                }
            });
        }
    });
    assert!(
        winners
            .iter()
            .all(|winners| winners.load(Ordering::SeqCst) == 1),
        "a name was taken by two, or by nobody"
    );
    assert_eq!(registry.load().servers.len(), THREADS * ROUNDS / 2 + ROUNDS);
    judge(registry);
}
