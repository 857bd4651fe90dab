//! The request on its way to the server: head and what is there of the body, then the rest as it arrives.
//!
//! The rule: of a long body no more is held than one buffer, so a slow server slows the client; an answer that comes
//! before the end of the body stops the sending.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::{Job, Stop};
use crate::upstream::lease::Conn;
use crate::wire::{PIECE, buffers, io};

impl Job<'_> {
    /// Writes head and what is there of the body, then passes the rest on.
    pub(super) async fn send(&mut self, conn: &mut Conn) -> std::result::Result<(), Stop> {
        let mut at = 0;
        poll_fn(
            |cx| match io::poll_write(&mut conn.stream, &self.client.output, &mut at, cx) {
                Poll::Ready(done) => Poll::Ready(done.map_err(Stop::Untouched)),
                Poll::Pending => self.poll_stop(cx).map(Err),
            },
        )
        .await?;
        if self.unsent > 0 {
            self.stream_body(conn).await?;
        }
        Ok(())
    }

    /// Passes the rest of the request body on as it arrives; stops at an early answer.
    async fn stream_body(&mut self, conn: &mut Conn) -> std::result::Result<(), Stop> {
        while self.unsent > 0 {
            if self.client.input.is_empty() {
                if self.client.input.capacity() == 0 {
                    buffers::borrow(&mut self.client.input);
                }
                self.client.input.reserve(self.unsent.min(4 * PIECE));
                let early = poll_fn(|cx| {
                    match io::poll_fill(&mut self.client.stream, &mut self.client.input, cx) {
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                        Poll::Ready(Ok(_)) => return Poll::Ready(Ok(false)),
                        Poll::Pending => {}
                    }
                    self.poll_early(conn, cx)
                })
                .await?;
                if early {
                    return Ok(());
                }
            }
            let ready = self.client.input.len().min(self.unsent);
            self.look(ready)?;
            let mut at = 0;
            let early = poll_fn(|cx| {
                match io::poll_write(&mut conn.stream, &self.client.input[..ready], &mut at, cx) {
                    Poll::Ready(done) => {
                        return Poll::Ready(done.map(|()| false).map_err(Stop::Untouched));
                    }
                    Poll::Pending => {}
                }
                self.poll_early(conn, cx)
            })
            .await?;
            if early {
                return Ok(());
            }
            self.unsent -= ready;
            self.client.input.drain(..ready);
        }
        Ok(())
    }

    /// Looks at the next bytes of the body, before any of them is passed on.
    fn look(&mut self, ready: usize) -> std::result::Result<(), Stop> {
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        let outcome = watch.feed(&self.client.input[..ready]);
        let last = ready == self.unsent;
        outcome
            .and_then(|()| if last { watch.end() } else { Ok(()) })
            .map_err(Stop::Refused)
    }

    /// True once the server answers although the request is not complete.
    fn poll_early(
        &mut self,
        conn: &mut Conn,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<bool, Stop>> {
        match io::poll_fill(&mut conn.stream, &mut conn.buffer, cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Stop::Untouched(
                std::io::ErrorKind::UnexpectedEof.into(),
            ))),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Stop::Untouched(error))),
            Poll::Pending => self.poll_stop(cx).map(Err),
        }
    }
}
