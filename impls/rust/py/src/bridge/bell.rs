//! How a thread without the interpreter wakes an event loop.
//!
//! Where the loop can watch a file (`add_reader`), a ring is one `write` to an eventfd (a pipe outside Linux). Where it
//! cannot, a thread of our own waits for the ring, attaches, and calls `call_soon_threadsafe`: tokio's threads never
//! wait for the interpreter, so one slow Python callback cannot stall the gateway.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex};

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::queue::lock;

/// Wakes one event loop.
#[derive(Debug)]
pub(super) enum Bell {
    File(FileBell),
    Thread(ThreadBell),
}

impl Bell {
    /// Wakes the loop; any thread, any number of times.
    pub(super) fn ring(&self) {
        match self {
            Self::File(bell) => bell.ring(),
            Self::Thread(bell) => bell.ring(),
        }
    }

    /// Forgets all rings so far. Called on the loop's thread.
    pub(super) fn silence(&self) {
        if let Self::File(bell) = self {
            bell.silence();
        }
    }
}

/// An eventfd, or a pipe where there is none. Non-blocking at both ends: a full pipe is rung already.
#[derive(Debug)]
pub(super) struct FileBell {
    read: OwnedFd,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    write: OwnedFd,
}

impl FileBell {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the descriptor is checked and owned from here on.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor that nobody else owns.
        let read = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { read })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn new() -> io::Result<Self> {
        let mut fds = [0; 2];
        // SAFETY: `fds` is an array of two descriptors, as pipe(2) wants.
        if unsafe { libc::pipe(fds.as_mut_ptr()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both are fresh descriptors that nobody else owns.
        let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
        for fd in fds {
            // SAFETY: fcntl with integer arguments on descriptors that live.
            unsafe {
                libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        Ok(Self { read, write })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    fn ring(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let fd = self.read.as_raw_fd();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let fd = self.write.as_raw_fd();
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` outlives the call. EAGAIN means that it is rung already; nothing else can fail.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }

    fn silence(&self) {
        let mut sink = [0_u8; 64];
        // SAFETY: `sink` is writable for its whole length. EAGAIN means that it was silent.
        unsafe { libc::read(self.read.as_raw_fd(), sink.as_mut_ptr().cast(), sink.len()) };
    }
}

#[derive(Debug, Default)]
struct Rope {
    state: Mutex<(bool, bool)>, // (rung, gone)
    pulled: Condvar,
}

/// A thread that carries rings to `call_soon_threadsafe`. It ends with the bell.
#[derive(Debug)]
pub(super) struct ThreadBell {
    rope: Arc<Rope>,
}

impl ThreadBell {
    /// Starts the thread. `event_loop` and `inbox` are weak: a thread that waits must keep neither alive.
    pub(super) fn carry(
        event_loop: Py<PyWeakrefReference>,
        inbox: Py<PyWeakrefReference>,
        rope: RopeEnd,
    ) -> io::Result<()> {
        let rope = rope.0;
        std::thread::Builder::new()
            .name("crossfade-bell".to_owned())
            .spawn(move || {
                while rope.wait() {
                    let carried = Python::try_attach(|py| {
                        if let Err(error) = carry(py, &event_loop, &inbox) {
                            error.write_unraisable(py, None);
                        }
                    });
                    if carried.is_none() {
                        return; // the interpreter is going away
                    }
                }
            })
            .map(drop)
    }

    /// The bell, and the end of the rope that its thread holds.
    pub(super) fn pair() -> (Self, RopeEnd) {
        let rope = Arc::new(Rope::default());
        (
            Self {
                rope: Arc::clone(&rope),
            },
            RopeEnd(rope),
        )
    }

    fn ring(&self) {
        lock(&self.rope.state).0 = true;
        self.rope.pulled.notify_one();
    }
}

impl Drop for ThreadBell {
    fn drop(&mut self) {
        lock(&self.rope.state).1 = true;
        self.rope.pulled.notify_one();
    }
}

/// What the thread of a [`ThreadBell`] holds on to.
pub(super) struct RopeEnd(Arc<Rope>);

impl Rope {
    /// Waits for a ring; false when the bell is gone.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.1 {
                return false;
            }
            if std::mem::take(&mut state.0) {
                return true;
            }
            state = self
                .pulled
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

fn carry(
    py: Python<'_>,
    event_loop: &Py<PyWeakrefReference>,
    inbox: &Py<PyWeakrefReference>,
) -> PyResult<()> {
    let (Some(event_loop), Some(inbox)) = (event_loop.bind(py).upgrade(), inbox.bind(py).upgrade())
    else {
        return Ok(());
    };
    let drain = inbox.getattr("drain")?;
    match event_loop.call_method1("call_soon_threadsafe", (drain,)) {
        Ok(_) => Ok(()),
        // Closed between the completion and the ring: nobody waits any more.
        Err(_)
            if event_loop
                .call_method0("is_closed")
                .and_then(|closed| closed.extract())
                .unwrap_or(true) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
