//! What of a request did not come with the first read: the rest of its head, and its body.
//!
//! The rule: every length has a limit, and every wait a deadline: one for all of the head, so that nobody feeds it byte by
//! byte, and a new one for each piece of the body.

use std::time::Instant;

use super::{Client, FIRST_LOOK, Inbound, Turn};
use crate::wire::body::Body;
use crate::wire::{MAX_HEAD, PIECE, RequestHead, head, io};

impl Client {
    pub(super) async fn rest_of_head(
        &mut self,
        mut outcome: Result<Option<(RequestHead, usize)>, head::HeadFault>,
    ) -> Result<(RequestHead, usize), Turn> {
        self.deadline(Instant::now() + self.patience());
        loop {
            match outcome {
                Ok(Some(found)) => return Ok(found),
                Err(fault) => {
                    let why = format!("{}; send a valid HTTP/1.1 request", fault.why);
                    return Err(self.refuse(fault.status, &why).await);
                }
                Ok(None) if self.input.len() > MAX_HEAD => {
                    return Err(self
                        .refuse(
                            431,
                            "the request head is longer than 16 KiB; send fewer or shorter headers",
                        )
                        .await);
                }
                Ok(None) => {
                    if let Err(lost) = self.more().await {
                        return Err(self.lost(lost).await);
                    }
                    outcome = head::request(&self.input);
                }
            }
        }
    }

    /// Reads a body until it can be acted on: all of it, or the first look at a long one.
    pub(super) async fn body(&mut self, inbound: &mut Inbound, limit: usize) -> Result<bool, Turn> {
        self.deadline(Instant::now() + self.patience());
        if inbound.length > limit {
            return Err(self.too_long(limit).await);
        }
        if inbound.head.expects_continue && self.input.len() == inbound.head_len {
            let _ = io::write(&mut self.stream, b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        if matches!(inbound.head.body, Body::Chunked(_)) {
            return self.chunked(inbound, limit).await;
        }
        let enough = if inbound.length > PIECE {
            FIRST_LOOK
        } else {
            inbound.length
        };
        self.read_to(inbound, enough).await.map(|()| true)
    }

    async fn too_long(&mut self, limit: usize) -> Turn {
        self.refuse(
            413,
            &format!("the body is longer than {limit} bytes; raise gateway.maxBodyBytes"),
        )
        .await
    }

    /// Reads until `wanted` bytes of the body are in the buffer.
    pub(super) async fn read_to(
        &mut self,
        inbound: &mut Inbound,
        wanted: usize,
    ) -> Result<(), Turn> {
        let missing = (inbound.head_len + inbound.length).saturating_sub(self.input.len());
        if wanted > FIRST_LOOK {
            self.input.reserve(missing.min(4 * PIECE));
        }
        while self.input.len() - inbound.head_len < wanted {
            let missing = (inbound.head_len + wanted).saturating_sub(self.input.len());
            self.input.reserve(missing.min(4 * PIECE));
            if let Err(lost) = self.more().await {
                return Err(self.lost(lost).await);
            }
            self.deadline(Instant::now() + self.patience());
        }
        inbound.have = (self.input.len() - inbound.head_len).min(inbound.length);
        Ok(())
    }

    /// Reads and decodes a chunked body into the buffer, in place of its framing.
    async fn chunked(&mut self, inbound: &mut Inbound, limit: usize) -> Result<bool, Turn> {
        let mut decoded = Vec::new();
        let mut body = inbound.head.body;
        let mut at = inbound.head_len;
        loop {
            let Ok(used) = body.advance(&self.input[at..], |part| decoded.extend_from_slice(part))
            else {
                return Err(self
                    .refuse(400, "the chunked body is broken; send valid chunks")
                    .await);
            };
            at += used;
            if decoded.len() > limit {
                return Err(self.too_long(limit).await);
            }
            if body.is_done() {
                break;
            }
            self.input.truncate(inbound.head_len);
            at = inbound.head_len;
            if let Err(lost) = self.more().await {
                return Err(self.lost(lost).await);
            }
            self.deadline(Instant::now() + self.patience());
        }
        inbound.length = decoded.len();
        inbound.have = decoded.len();
        self.input.splice(inbound.head_len..at, decoded);
        Ok(true)
    }
}
