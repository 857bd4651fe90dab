//! The one clock of the shell: nanoseconds since the first look, as the cores want them.

use std::sync::OnceLock;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

pub(crate) fn now_ns() -> u64 {
    at_ns(Instant::now())
}

pub(crate) fn at_ns(instant: Instant) -> u64 {
    let start = *START.get_or_init(|| instant);
    u64::try_from(instant.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

/// The instant of such a time.
pub(crate) fn instant_at(at_ns: u64) -> Instant {
    let start = *START.get_or_init(Instant::now);
    start + std::time::Duration::from_nanos(at_ns)
}

pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
