//! A strict HTTP/1.1 codec for both faces: heads by httparse, bodies tracked as they pass, buffers lent only while in use.
//!
//! The rule: what two parties could read differently is refused (two lengths, a length beside `chunked`, folded
//! headers), RFC 9112 sections 6.1 and 11.2. A parked connection owns no buffer.

pub(crate) mod body;
pub(crate) mod buffers;
pub(crate) mod head;
pub(crate) mod io;
pub(crate) mod sse;

pub(crate) use body::Body;
pub(crate) use head::{Method, RequestHead, ResponseHead};

/// Longest accepted request or response head.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// Bodies up to this length are handled in one piece; longer ones are streamed.
pub(crate) const PIECE: usize = 16 * 1024;
