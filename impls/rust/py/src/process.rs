//! The one tokio runtime of this process, and the refusal to use it in a forked child.
//!
//! It starts with the first work, has `CROSSFADE_WORKERS` threads (1 by default: gateway traffic then never changes its
//! core), and lives until the process ends. Its threads do not survive a fork, and its locks may be held by threads that
//! are gone; so a child that inherited it is refused everything, and even destructors keep their hands off.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::errors;

static RUNTIME: OnceLock<Shared> = OnceLock::new();
static FORKED: AtomicBool = AtomicBool::new(false);

const WORKERS: &str = "CROSSFADE_WORKERS";
const MOST_WORKERS: usize = 256;

struct Shared {
    runtime: Runtime,
    workers: usize,
}

/// The runtime, started on first use.
pub fn runtime(py: Python<'_>) -> PyResult<&'static Handle> {
    if forked() {
        return Err(errors::raise_forked(py));
    }
    if let Some(shared) = RUNTIME.get() {
        return Ok(shared.runtime.handle());
    }
    start(py, None)
}

/// Starts the runtime with this many threads, or checks that it has them.
pub fn start(py: Python<'_>, workers: Option<usize>) -> PyResult<&'static Handle> {
    if forked() {
        return Err(errors::raise_forked(py));
    }
    let wanted = match workers {
        Some(workers) => Some(workers),
        None if RUNTIME.get().is_none() => from_environment(py)?,
        None => None,
    };
    if let Some(wanted) = wanted
        && !(1..=MOST_WORKERS).contains(&wanted)
    {
        return Err(errors::raise_config(
            py,
            &format!(
                "{wanted} native workers: must be 1 to {MOST_WORKERS}; change {WORKERS} or `workers`"
            ),
        ));
    }
    let shared = if let Some(shared) = RUNTIME.get() {
        shared
    } else {
        let made = build(wanted.unwrap_or(1))?;
        py.import("atexit")?
            .call_method1("register", (wrap_pyfunction!(at_exit, py)?,))?;
        // Two threads may get here at once (free-threaded Python): the first one's runtime stays.
        if let Err(late) = RUNTIME.set(made) {
            late.runtime.shutdown_background();
        }
        RUNTIME.get().expect("set above")
    };
    match wanted {
        Some(wanted) if wanted != shared.workers => Err(errors::raise_config(
            py,
            &format!(
                "the native runtime of this process runs with {} workers already and cannot change to {wanted}; \
                 set {WORKERS} before the first manager is opened",
                shared.workers
            ),
        )),
        _ => Ok(shared.runtime.handle()),
    }
}

/// The runtime if it runs and may be used; for destructors.
pub fn running() -> Option<&'static Handle> {
    if forked() {
        return None;
    }
    RUNTIME.get().map(|shared| shared.runtime.handle())
}

/// How many threads the runtime has; 0 before it starts.
pub fn workers() -> usize {
    RUNTIME.get().map_or(0, |shared| shared.workers)
}

/// True in a child that was forked after the runtime had started.
pub fn forked() -> bool {
    FORKED.load(Relaxed)
}

/// Managers that nobody closed leave no grandchildren behind; children die with us anyway.
#[pyfunction]
fn at_exit() {
    if !forked() {
        crossfade_runtime::kill_children();
    }
}

fn from_environment(py: Python<'_>) -> PyResult<Option<usize>> {
    match std::env::var(WORKERS) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            errors::raise_config(
                py,
                &format!("{WORKERS}={text:?} is not a number; set it to the number of native worker threads or unset it"),
            )
        }),
        Err(_) => Ok(None),
    }
}

fn build(workers: usize) -> PyResult<Shared> {
    extern "C" fn in_child() {
        FORKED.store(true, Relaxed);
    }
    // SAFETY: the handler only stores to an atomic, which is allowed between fork and exec.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("crossfade-native")
        .enable_all()
        .build()?;
    Ok(Shared { runtime, workers })
}
