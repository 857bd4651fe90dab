//! Reading and writing a socket without a system call too many.
//!
//! `poll_read` is used rather than `try_read`: after a short read tokio knows that the socket is empty and the next wait
//! costs no `EAGAIN` (tokio `PollEvented::poll_read`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{PIECE, buffers};

/// Reads once into the spare room of `buffer` (which gets memory if it has none). `Ok(0)` is the end.
pub(crate) fn poll_fill(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buffer.capacity() == 0 {
        ready!(stream.poll_read_ready(cx))?;
        buffers::borrow(buffer);
    }
    if buffer.capacity() - buffer.len() < PIECE / 8 {
        buffer.reserve(PIECE);
    }
    let filled = buffer.len();
    let mut view = ReadBuf::uninit(buffer.spare_capacity_mut());
    ready!(Pin::new(stream).poll_read(cx, &mut view))?;
    let read = view.filled().len();
    // SAFETY: `ReadBuf` says that the first `read` bytes of the spare capacity are initialised.
    unsafe { buffer.set_len(filled + read) };
    Poll::Ready(Ok(read))
}

/// Reads once; see [`poll_fill`].
pub(crate) async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| poll_fill(stream, buffer, cx)).await
}

/// Writes from `*at` on; ready when all of `data` is written.
pub(crate) fn poll_write(
    stream: &mut TcpStream,
    data: &[u8],
    at: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *at < data.len() {
        match ready!(Pin::new(&mut *stream).poll_write(cx, &data[*at..]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => *at += written,
        }
    }
    Poll::Ready(Ok(()))
}

/// Writes `front` and `back` from `*at` on (counted over both), in one system call as long as both are left.
pub(crate) fn poll_write_both(
    stream: &mut TcpStream,
    front: &[u8],
    back: &[u8],
    at: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *at < front.len() && !back.is_empty() {
        let parts = [io::IoSlice::new(&front[*at..]), io::IoSlice::new(back)];
        match ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &parts))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => *at += written,
        }
    }
    if *at < front.len() {
        return poll_write(stream, front, at, cx);
    }
    let mut behind = *at - front.len();
    let outcome = poll_write(stream, back, &mut behind, cx);
    *at = front.len() + behind;
    outcome
}

/// Writes all of `data`.
pub(crate) async fn write(stream: &mut TcpStream, data: &[u8]) -> io::Result<()> {
    let mut at = 0;
    poll_fn(|cx| poll_write(stream, data, &mut at, cx)).await
}
