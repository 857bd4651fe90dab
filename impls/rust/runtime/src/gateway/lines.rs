//! Lines on pipes: cuts what a client sends into them, and writes its answers as such.
//!
//! The rules: of a line over the limit nothing is kept; it is told once, and what follows it is whole again; a message is
//! written in one piece, and those that wait go out together.

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::sse;

pub(crate) const TOO_LONG: &str = "the line is too long; raise gateway.maxBodyBytes";

/// A line over the limit, of which nothing is kept.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct TooLong;

#[derive(Debug)]
pub(crate) struct Lines {
    kept: Vec<u8>,
    /// Where the next line begins.
    from: usize,
    /// Up to here there is no end of it.
    searched: usize,
    limit: usize,
    /// The line that goes on was refused.
    skipping: bool,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            kept: Vec::new(),
            from: 0,
            searched: 0,
            limit,
            skipping: false,
        }
    }

    /// Takes in what came; take out all lines before the next time.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.kept.drain(..self.from);
        self.searched -= self.from;
        self.from = 0;
        self.kept.extend_from_slice(chunk);
    }

    /// There will be no more: the line that has no end, if there is one.
    pub(crate) fn last(&mut self) -> Option<Vec<u8>> {
        let line = self.kept.split_off(self.from);
        (!self.skipping && !line.is_empty()).then_some(line)
    }

    /// The next line, without its end; none until more came.
    pub(crate) fn next(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        while let Some(at) = memchr::memchr(b'\n', &self.kept[self.searched..]) {
            let end = self.searched + at;
            let line = std::mem::replace(&mut self.from, end + 1)..end;
            self.searched = self.from;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            return Some(if line.len() > self.limit {
                Err(TooLong)
            } else {
                Ok(self.kept[line].to_vec())
            });
        }
        self.searched = self.kept.len();
        if !self.skipping && self.searched - self.from <= self.limit {
            return None;
        }
        self.kept = Vec::new();
        (self.from, self.searched) = (0, 0);
        (!std::mem::replace(&mut self.skipping, true)).then_some(Err(TooLong))
    }
}

/// Writes messages to stdout until there are no more senders.
pub(crate) async fn write(mut outgoing: mpsc::Receiver<Vec<u8>>) {
    let mut stdout = tokio::io::stdout();
    let mut batch = Vec::new();
    while let Some(answer) = outgoing.recv().await {
        push_line(&mut batch, &answer);
        while let Ok(answer) = outgoing.try_recv() {
            push_line(&mut batch, &answer);
        }
        if stdout.write_all(&batch).await.is_err() || stdout.flush().await.is_err() {
            return;
        }
        batch.clear();
    }
}

fn push_line(batch: &mut Vec<u8>, message: &[u8]) {
    sse::push_line(batch, message);
    batch.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `input` in pieces of `size` bytes; a line that is too long is `!`.
    fn cut(input: &[u8], size: usize, limit: usize) -> Vec<String> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for chunk in input.chunks(size) {
            lines.feed(chunk);
            while let Some(line) = lines.next() {
                found.push(line.map_or("!".to_owned(), |line| {
                    String::from_utf8(line).expect("text")
                }));
            }
            assert!(lines.kept.len() <= limit.max(size) + size, "kept");
        }
        let last = lines.last();
        found.extend(last.map(|line| String::from_utf8(line).expect("text")));
        found
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        for size in 1..=24 {
            let found = cut(
                b"one\n\ntwo\nthe fourth line\nfive\n12345\n123456\nlast",
                size,
                5,
            );
            assert_eq!(
                found,
                ["one", "", "two", "!", "five", "12345", "!", "last"],
                "{size}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_told_once_and_never_kept() {
        let mut lines = Lines::new(1000);
        let mut told = 0;
        for _ in 0..10_000 {
            lines.feed(&[b'x'; 100]);
            told += usize::from(lines.next().is_some());
            assert!(lines.next().is_none());
            assert!(lines.kept.len() <= 1100);
        }
        assert_eq!(lines.last(), None);
        assert_eq!(told, 1);
    }
}
