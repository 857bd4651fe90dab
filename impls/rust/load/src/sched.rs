//! Where and when the thread of a generator or a fleet runs: on which CPU, and after whom.
//!
//! Rule: whoever shares a CPU with the ruler is not held up by it, and the target is not billed for its haste. A
//! generator that is woken by an answer takes the CPU from the fleet, by an interrupt that the *target* sends as it
//! writes that answer; then it sleeps again, and the next answer costs the same. In a closed loop no send has a time of
//! its own, so that its generator may stand back: [`Batch`] and a yield before it looks. An open loop has send times to
//! keep and may not.

use std::io;

use crate::Failure;

/// Pins the calling thread to one CPU.
#[cfg(target_os = "linux")]
pub fn pin(cpu: usize) -> Result<(), Failure> {
    // SAFETY: a zeroed cpu_set_t is an empty set, and the size passed is its own.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu < 8 * size_of::<libc::cpu_set_t>() {
            libc::CPU_SET(cpu, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if done == 0 {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "cannot pin to cpu {cpu}: {}; choose one of this process's CPUs or leave `cpu` out",
        io::Error::last_os_error()
    )))
}

#[cfg(not(target_os = "linux"))]
pub fn pin(_cpu: usize) -> Result<(), Failure> {
    Err(Failure::Usage(
        "pinning needs Linux; leave `cpu` out".into(),
    ))
}

/// While it lives, the calling thread preempts nobody when it is woken (`SCHED_BATCH`, sched(7)).
///
/// A policy that was set from outside stays, and so does the usual one where the system refuses or has no other.
#[derive(Debug)]
#[must_use = "the policy returns when this is dropped"]
pub struct Batch {
    ours: bool,
}

#[cfg(target_os = "linux")]
impl Batch {
    pub fn begin() -> Self {
        // SAFETY: only asks; 0 is the calling thread.
        let usual = unsafe { libc::sched_getscheduler(0) } == libc::SCHED_OTHER;
        Self {
            ours: usual && set(libc::SCHED_BATCH),
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Batch {
    fn drop(&mut self) {
        if self.ours {
            set(libc::SCHED_OTHER);
        }
    }
}

#[cfg(target_os = "linux")]
fn set(policy: libc::c_int) -> bool {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` outlives the call, and both policies take no priority; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const none) == 0 }
}

#[cfg(not(target_os = "linux"))]
impl Batch {
    pub fn begin() -> Self {
        Self { ours: false }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: only asks.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_batch_ends_as_it_began() {
        let before = policy();
        let batch = Batch::begin();
        assert_eq!(policy(), libc::SCHED_BATCH);
        // One within another is no end of the first.
        drop(Batch::begin());
        assert_eq!(policy(), libc::SCHED_BATCH);
        drop(batch);
        assert_eq!(policy(), before);
    }
}
