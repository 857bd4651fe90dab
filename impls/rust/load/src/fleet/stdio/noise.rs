//! Noise on standard error: a server that logs a lot.
//!
//! Rule: like most programs, this one cannot answer while its log cannot be written. Whoever does not drain standard error
//! stops it for good, once the pipe is full (64 KiB).

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(10);
const LINE: &[u8] =
    b"crossfade-fleet: this line is noise, as it was asked for by stderr_bytes_per_s\n";

/// Held by the noise while it writes.
pub(super) type Noise = Arc<Mutex<()>>;

/// Begins to write so many bytes per second.
pub(super) fn start(bytes_per_s: u64) -> Option<Noise> {
    if bytes_per_s == 0 {
        return None;
    }
    let noise = Noise::default();
    let held = Arc::clone(&noise);
    std::thread::spawn(move || {
        let (begin, mut written) = (Instant::now(), 0_u128);
        loop {
            let due = begin.elapsed().as_nanos() * u128::from(bytes_per_s) / 1_000_000_000;
            let lines = (due - written.min(due)) / LINE.len() as u128;
            {
                let Ok(_held) = held.lock() else { return };
                for _ in 0..lines {
                    if std::io::stderr().write_all(LINE).is_err() {
                        return; // nobody reads any more
                    }
                }
            }
            written += lines * LINE.len() as u128;
            std::thread::sleep(EVERY);
        }
    });
    Some(noise)
}

/// Waits while the noise is stuck.
pub(super) fn wait_for(noise: &Noise) {
    drop(noise.lock());
}
