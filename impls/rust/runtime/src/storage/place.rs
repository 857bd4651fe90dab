//! One directory in a pool, `<root>/<server>/<index>`: made, measured and deleted.
//!
//! The rule: below the root every directory is opened by itself and only if it is no symbolic link; whatever is done in
//! it is done through that descriptor (`/proc/self/fd`), so nobody can put a link in its place in between.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How deep a directory is looked into.
pub(super) const MAX_DEPTH: usize = 128;

/// What a look at a directory saw; not `whole`: there is more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Used {
    pub(super) bytes: u64,
    pub(super) whole: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    root: PathBuf,
    server: String,
    index: u32,
}

/// An open directory, and where to find what is in it.
struct Opened(File);

impl Opened {
    /// `links`: whether the last part of the path may be a symbolic link.
    fn new(path: &Path, links: bool) -> io::Result<Self> {
        let flags = libc::O_DIRECTORY | if links { 0 } else { libc::O_NOFOLLOW };
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map(Self)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    fn inner(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(&self.path().join(name), false)
    }

    fn make(&self, name: &str) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(self.path().join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {} // taken up again, if it is a directory
        }
        self.inner(name)
    }
}

impl Place {
    pub(super) fn new(root: &Path, server: &str, index: u32) -> Self {
        Self {
            root: root.to_owned(),
            server: server.to_owned(),
            index,
        }
    }

    pub(super) fn key(&self) -> (String, u32) {
        (self.server.clone(), self.index)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.root.join(&self.server).join(self.index.to_string())
    }

    /// Makes it, and the root if need be.
    pub(super) fn make(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.root)?;
        let root = Opened::new(&self.root, true)?;
        root.make(&self.server)?.make(&self.index.to_string())?;
        Ok(())
    }

    fn server(&self) -> io::Result<Opened> {
        Opened::new(&self.root, true)?.inner(&self.server)
    }

    /// Deletes it. What cannot be deleted stays; a link in its place is left alone.
    pub(super) fn remove(&self) {
        let name = self.index.to_string();
        let Ok(server) = self.server() else { return };
        if server.inner(&name).is_ok() {
            let _ = std::fs::remove_dir_all(server.path().join(&name));
        }
        // Only if it is empty, and never through a link.
        let _ = std::fs::remove_dir(self.root.join(&self.server));
    }

    /// Bytes of the files in it, as their sizes say; 0 if it is gone, or no directory. No more than `most` entries are
    /// looked at.
    pub(super) fn used(&self, most: usize) -> Used {
        let mut used = Used {
            bytes: 0,
            whole: true,
        };
        let server = self.server();
        if let Ok(inner) = server.and_then(|server| server.inner(self.index.to_string())) {
            let mut left = most;
            sum(&inner, MAX_DEPTH, &mut left, &mut used);
        }
        used
    }
}

fn sum(directory: &Opened, depth: usize, left: &mut usize, used: &mut Used) {
    let Ok(entries) = std::fs::read_dir(directory.path()) else {
        return;
    };
    for entry in entries.flatten() {
        if *left == 0 {
            used.whole = false;
            return;
        }
        *left -= 1;
        // None of these follows a link; what is gone meanwhile counts for nothing.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth == 0 => used.whole = false,
            Ok(kind) if kind.is_dir() => {
                if let Ok(inner) = directory.inner(entry.file_name()) {
                    sum(&inner, depth - 1, left, used);
                }
            }
            Ok(_) => used.bytes += entry.metadata().map_or(0, |meta| meta.len()),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_place_of_a_directory_is_neither_used_nor_followed() {
        let top = std::env::temp_dir().join(format!("crossfade-place-{}", std::process::id()));
        let outside = top.join("outside");
        std::fs::create_dir_all(outside.join("0")).expect("a directory");
        std::fs::write(outside.join("0/precious"), [0; 500]).expect("a file");
        let root = top.join("pool");
        let fine = Place::new(&root, "fine", 0);
        fine.make().expect("made");
        std::fs::write(fine.path().join("own"), [0; 30]).expect("a file");
        std::os::unix::fs::symlink(&outside, fine.path().join("link")).expect("a link");
        let used = fine.used(10);
        assert!(used.bytes >= 30 && used.bytes < 400 && used.whole);
        std::os::unix::fs::symlink(&outside, root.join("evil")).expect("a link");
        let evil = Place::new(&root, "evil", 0);
        assert!(evil.make().is_err());
        assert_eq!(evil.used(10).bytes, 0);
        evil.remove();
        fine.remove();
        assert!(!fine.path().exists() && outside.join("0/precious").exists());
        std::fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn a_look_says_whether_it_saw_everything() {
        let top = std::env::temp_dir().join(format!("crossfade-look-{}", std::process::id()));
        let place = Place::new(&top, "many", 0);
        place.make().expect("made");
        for name in ["a", "b", "c"] {
            std::fs::write(place.path().join(name), [0; 10]).expect("a file");
        }
        let look = |most| {
            let used = place.used(most);
            (used.bytes, used.whole)
        };
        assert_eq!((look(3), look(2)), ((30, true), (20, false)));
        let mut deep = place.path();
        deep.extend(std::iter::repeat_n("d", MAX_DEPTH));
        std::fs::create_dir_all(&deep).expect("directories");
        assert_eq!(look(1000), (30, true));
        std::fs::create_dir(deep.join("d")).expect("one more");
        assert_eq!(look(1000), (30, false));
        std::fs::remove_dir_all(&top).expect("removed");
    }
}
