//! What the operating system is asked for beyond sockets: a clock, an exact alarm, CPU time, limits, standard input.
//!
//! Rule: all times are nanoseconds of the monotonic clock. `epoll_wait` counts milliseconds, which is far too coarse for
//! open-loop send times, so the alarm is a timer descriptor on Linux (elsewhere: the poll's own timeout, rounded up).

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mio::{Events, Poll, Registry, Token, Waker};

fn clock_ns(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writes; the clocks used here exist on every supported kernel.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[inline]
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CPU time of this thread (the whole generator or fleet), user and system.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Makes the end of a connection a reset (RST) instead of a farewell (FIN).
pub fn reset_on_close(stream: &impl std::os::fd::AsRawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap_or_default();
    // SAFETY: the descriptor is open while `stream` is borrowed, and `linger` is as large as the size says. A refusal
    // leaves an ordinary end.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        );
    }
}

/// Raises the soft limit of open files to the hard one: thousands of connections are normal here.
pub fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for reads and writes during both calls. A refusal leaves the old limit, and the first
    // connection past it then fails with a clear error.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Wakes a poll at an exact time.
#[derive(Debug)]
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    armed_ns: u64,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
        // SAFETY: the descriptor is fresh and owned by nobody else.
        let timer = unsafe {
            let fd = libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
            );
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        registry.register(
            &mut mio::unix::SourceFd(&timer.as_raw_fd()),
            token,
            mio::Interest::READABLE,
        )?;
        Ok(Self {
            timer,
            armed_ns: u64::MAX,
        })
    }

    /// Polls until something happens or `wake_ns` is reached. The timer is only touched when the time to wake changed.
    pub fn poll(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        wake_ns: Option<u64>,
    ) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let wake_ns = wake_ns.unwrap_or(u64::MAX);
        if wake_ns != self.armed_ns {
            self.armed_ns = wake_ns;
            let at = if wake_ns == u64::MAX {
                0
            } else {
                wake_ns.max(1)
            };
            let mut timer: libc::itimerspec = libc::itimerspec {
                it_interval: libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
                it_value: libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
            };
            timer.it_value.tv_sec =
                libc::time_t::try_from(at / 1_000_000_000).unwrap_or(libc::time_t::MAX);
            timer.it_value.tv_nsec = (at % 1_000_000_000).cast_signed();
            // SAFETY: the descriptor is open and `timer` outlives the call. Setting resets the count of expirations, so
            // the next one is a new edge and nothing need be read from the descriptor.
            let set = unsafe {
                libc::timerfd_settime(
                    self.timer.as_raw_fd(),
                    libc::TFD_TIMER_ABSTIME,
                    &raw const timer,
                    std::ptr::null_mut(),
                )
            };
            if set < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        poll.poll(events, None)
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
        Ok(Self { armed_ns: u64::MAX })
    }

    pub fn poll(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        wake_ns: Option<u64>,
    ) -> io::Result<()> {
        self.armed_ns = wake_ns.unwrap_or(u64::MAX);
        let timeout = wake_ns.map(|at| Duration::from_nanos(at.saturating_sub(now_ns())));
        poll.poll(events, timeout)
    }
}

/// Lines of standard input, then the end of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    Line(String),
    End,
}

/// Reads standard input on a thread of its own, so that the loop never blocks on it.
pub fn stdin_lines(waker: Arc<Waker>) -> Receiver<Control> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(Control::Line(line)).is_err() || waker.wake().is_err() {
                return;
            }
        }
        let _ = send.send(Control::End);
        let _ = waker.wake();
    });
    receive
}

/// A pause for retries: only used before a run is ready, never while measuring.
pub const RETRY_PAUSE: Duration = Duration::from_millis(10);
